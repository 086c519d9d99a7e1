"""What a person sees of a run in a real ComfyUI, and how they stop it."""

import base64
import io
import json
import os
import socket
import struct
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import pytest
from batch_sdxl.core import Engine, Geometry, ImageRequest, load_model
from batch_sdxl.core.engine.preview.layout import Layout
from PIL import Image

NODE = "4"
PROMPTS = [f"a {colour} circle" for colour in ("red", "green", "blue", "yellow")] * 2
STEPS, CFG = 40, 3.0
ROWS = 8  # of a UNet call: four images

#: ComfyUI's kinds of binary messages.
TEXT, PREVIEW, PREVIEW_WITH_METADATA = 3, 1, 4


class Message(NamedTuple):
    """One message: `kind` is the name of an event, or the number of a binary one."""

    time: float
    kind: str | int
    data: Any


class Listener:
    """Collects what ComfyUI tells a browser, from the start of a connection on."""

    def __init__(self, url: str, client_id: str) -> None:
        address = urlsplit(url)
        assert address.hostname is not None
        self.messages: list[Message] = []
        self._socket = socket.create_connection((address.hostname, address.port), timeout=60)
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET /ws?clientId={client_id} HTTP/1.1\r\nHost: {address.netloc}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self._file = self._socket.makefile("rb")
        while self._file.readline() != b"\r\n":
            pass
        self._send({"type": "feature_flags", "data": {"supports_preview_metadata": True}})
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _send(self, message: Any) -> None:
        data = json.dumps(message).encode()
        assert len(data) < 126
        # A client's frames are masked, here with zeros.
        self._socket.sendall(bytes([0x81, 0x80 | len(data)]) + bytes(4) + data)

    def _listen(self) -> None:
        with suppress(ConnectionResetError):  # a server that had more to say when it was closed
            self._read()

    def _read(self) -> None:
        while len(head := self._file.read(2)) == 2:
            length = head[1] & 127
            if length > 125:
                size, form = (2, ">H") if length == 126 else (8, ">Q")
                (length,) = struct.unpack(form, self._file.read(size))
            data = self._file.read(length)
            now = time.monotonic()
            if head[0] & 15 == 1:
                event = json.loads(data)
                self.messages.append(Message(now, event["type"], event["data"]))
            elif head[0] & 15 == 2:
                self.messages.append(Message(now, int.from_bytes(data[:4], "big"), data[4:]))

    def of(self, *kinds: str | int) -> list[Message]:
        """The messages of these kinds so far."""
        return [message for message in list(self.messages) if message.kind in kinds]

    def wait(self, *kinds: str | int, where: Any = lambda data: True, timeout: float = 300) -> Any:
        """The data of the first message of these kinds that is as asked for."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for message in self.of(*kinds):
                if where(message.data):
                    return message.data
            time.sleep(0.005)
        raise TimeoutError([m.kind for m in self.messages[-50:]])

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._file.close()
        self._socket.close()


def text_of(data: bytes) -> tuple[str, str]:
    """Node and text of a binary message of text."""
    length = int.from_bytes(data[:4], "big")
    return data[4 : 4 + length].decode(), data[4 + length :].decode()


def preview_of(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Metadata and picture of a preview."""
    length = int.from_bytes(data[:4], "big")
    return json.loads(data[4 : 4 + length]), data[4 + length :]


def graph(prefix: str, first_seed: int, steps: int = STEPS) -> dict[str, Any]:
    """Eight images of one size, saved."""
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("LoadSDXL", {"model_name": "demo", "dtype": "fp32"}),
        "2": ("PromptList", {"text": "\n".join(PROMPTS), "negative_prompt": ""}),
        "3": ("SeedList", {"seeds": f"{first_seed}..+{len(PROMPTS)}"}),
        NODE: (
            "BatchGenerate",
            {"model": ["1", 0], "prompts": ["2", 0], "seeds": ["3", 0], "rows_per_call": ROWS},
        ),
        "5": (
            "SaveImageBatch",
            {"images": [NODE, 0], "rows": [NODE, 1], "filename_prefix": prefix},
        ),
    }
    nodes[NODE][1].update(width=128, height=128, steps=steps, cfg=CFG, strength=1.0, combine="zip")
    nodes[NODE][1].update(sampler_name="euler", scheduler="normal")
    return {
        key: {"class_type": f"BatchSDXL_{name}", "inputs": inputs, "_meta": {"title": name}}
        for key, (name, inputs) in nodes.items()
    }


def expected(first_seed: int) -> list[Any]:
    """The pixels of `graph`, made without ComfyUI."""
    requests = [
        ImageRequest(
            prompt=prompt,
            seed=first_seed + number,
            num_inference_steps=STEPS,
            guidance_scale=CFG,
            scheduler="euler:normal",
            empty_negative="empty",  # as in ComfyUI
        )
        for number, prompt in enumerate(PROMPTS)
    ]
    engine = Engine(load_model("demo", device="cpu", dtype="fp32"), geometry=Geometry(ROWS))
    return [i.pixels for i in sorted(engine.generate(requests), key=lambda image: image.index)]


def run(server: Any, prompt: dict[str, Any], **extra: Any) -> tuple[Listener, str]:
    """Start a graph; who listens to it, and its id."""
    client = uuid.uuid4().hex
    listener = Listener(server.url, client)
    body = {"prompt": prompt, "client_id": client, "extra_data": extra}
    status, answer = server.post("/prompt", body)
    assert status == 200, answer
    return listener, answer["prompt_id"]


def texts(listener: Listener) -> list[str]:
    told = [text_of(message.data) for message in listener.of(TEXT)]
    return [text for node, text in told if node == NODE]


def history(server: Any, prompt_id: str) -> dict[str, Any]:
    """The entry of a run, which is written just after its last event."""
    while not (entry := server.get(f"/history/{prompt_id}")):
        time.sleep(0.05)
    result: dict[str, Any] = entry[prompt_id]
    return result


@pytest.fixture(scope="module")
def previewing(comfyui: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    base: Path = tmp_path_factory.mktemp("previewing") / "base"
    server = type(comfyui)(base, "--preview-method", "latent2rgb")
    yield server
    server.stop()


def test_cancel_stops_at_once_and_the_next_run_goes_on(comfyui: Any) -> None:
    first_seed = 1000
    listener, prompt_id = run(comfyui, graph("stopped", first_seed))
    half = STEPS * len(PROMPTS) // 2
    # Of the four that then have all their steps, some are not decoded yet: Cancel waits for them.
    listener.wait("progress", where=lambda data: data["node"] == NODE and data["value"] >= half)
    stopped = time.monotonic()
    with urllib.request.urlopen(comfyui.url + "/interrupt", data=b"", timeout=60):
        pass
    listener.wait("execution_interrupted", timeout=60)
    seen = [message for message in listener.of("progress") if message.data["node"] == NODE]
    before = max(message.data["value"] for message in seen if message.time < stopped)
    # A call that was under way, and one that newer ComfyUI's bar had kept to itself.
    assert seen[-1].data["value"] <= before + 2 * ROWS // 2
    assert texts(listener)[-1] == "Stopped; 4 of 8 images are kept for the next run"
    listener.close()
    assert history(comfyui, prompt_id)["status"]["status_str"] == "error"

    listener, prompt_id = run(comfyui, graph("stopped", first_seed))
    listener.wait("execution_success")
    bar = [m.data["max"] for m in listener.of("progress") if m.data["node"] == NODE]
    assert set(bar) == {half}
    assert texts(listener)[-1].endswith("4 of 8 images from earlier runs")
    listener.close()
    files = sorted(comfyui.files(history(comfyui, prompt_id)))
    pixels = [np.asarray(Image.open(file)) for file in files]
    assert len(pixels) == len(PROMPTS)
    assert all(map(np.array_equal, pixels, expected(first_seed)))

    listener, _ = run(comfyui, graph("after", 1, steps=2))
    listener.wait("execution_success")
    assert texts(listener)[-1] == "8 images: 8 prompts, 8 seeds (zip)"
    listener.close()


def test_the_node_tells_how_far_it_is_and_shows_no_preview_where_they_are_off(
    comfyui: Any,
) -> None:
    listener, _ = run(comfyui, graph("told", 2000))
    listener.wait("execution_success")
    told = texts(listener)
    listener.close()
    assert told[0] == told[-1] == "8 images: 8 prompts, 8 seeds (zip)"
    assert "0 of 8 images, estimating the time left" in told
    assert any(text.startswith("4 of 8 images, ") and text.endswith(" s left") for text in told)
    assert not listener.of(PREVIEW, PREVIEW_WITH_METADATA)


def test_previews_show_the_whole_batch_on_the_node(previewing: Any) -> None:
    listener, _ = run(previewing, graph("seen", 3000))
    listener.wait("execution_success")
    sheets = [preview_of(message.data) for message in listener.of(PREVIEW_WITH_METADATA)]
    listener.close()
    assert sheets
    assert not listener.of(PREVIEW)
    assert {metadata["display_node_id"] for metadata, _ in sheets} == {NODE}
    layout = Layout.of(len(PROMPTS), 128, 128)
    for _, data in sheets:
        sheet = Image.open(io.BytesIO(data))
        assert sheet.format == "JPEG"
        assert sheet.size == (layout.columns * layout.width, layout.lines * layout.height)
    tiles = [
        np.asarray(sheet.crop((x, 0, x + layout.width, layout.height))).std()
        for x in range(0, sheet.width, layout.width)
    ]
    assert all(spread > 10 for spread in tiles)


def test_a_prompt_can_turn_previews_off(previewing: Any) -> None:
    listener, _ = run(previewing, graph("unseen", 4000), preview_method="none")
    listener.wait("execution_success")
    listener.close()
    version = previewing.get("/system_stats")["system"]["comfyui_version"]
    if tuple(map(int, version.split(".")[:2])) < (0, 8):
        pytest.skip("ComfyUI's own previews cannot be turned off by a prompt here")
    assert not listener.of(PREVIEW, PREVIEW_WITH_METADATA)
