"""What the browser fetches of galleries; pictures that are gone are written again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from .host import ComfyHost

if TYPE_CHECKING:
    from aiohttp import web

#: Lists and pictures are named by their content, so that they never change.
_HEADERS = {"Cache-Control": "private, max-age=31536000, immutable"}


def add_routes() -> None:
    """Have ComfyUI's server answer."""
    from server import PromptServer

    server = getattr(PromptServer, "instance", None)
    if server is not None:
        server.routes.get("/batch_sdxl/gallery/{list}")(_list)
        server.routes.get("/batch_sdxl/gallery/{list}/{file}")(_picture)


async def _list(request: web.Request) -> web.StreamResponse:
    return _answer(ComfyHost().galleries().list(request.match_info["list"]))


async def _picture(request: web.Request) -> web.StreamResponse:
    return _answer(await asyncio.to_thread(_find, **request.match_info))


def _find(list: str, file: str) -> Path | None:
    host = ComfyHost()
    return host.galleries().picture(list, file, host.store())


def _answer(path: Path | None) -> web.StreamResponse:
    from aiohttp import web

    if path is None:
        return web.Response(status=404)
    return web.FileResponse(path, headers=_HEADERS)
