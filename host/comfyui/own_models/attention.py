"""ComfyUI's attention, in an implementation that does the same whatever memory is free."""

from __future__ import annotations

from typing import Any

#: Those that take larger or smaller steps by the memory that is free at the moment.
_UNSTEADY = ("attention_sub_quad", "attention_split")


def attention_name() -> str:
    """Which implementation UNets compute with: ComfyUI's own, or torch's function in its place."""
    own = _own()
    return "sdpa" if own in _UNSTEADY else f"comfyui {own}"


def steady_attention() -> dict[str, Any]:
    """Transformer options that put torch's function in the place of an unsteady one."""
    return {"optimized_attention_override": _attend} if _own() in _UNSTEADY else {}


def _own() -> str:
    import comfy.ldm.modules.attention as attention

    return str(attention.optimized_attention.__name__)


def _attend(_function: Any, *arguments: Any, **options: Any) -> Any:
    import comfy.ldm.modules.attention as attention

    return attention.attention_pytorch(*arguments, **options)
