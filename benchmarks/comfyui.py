"""ComfyUI's KSampler on the same weights, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from batch_sdxl.core import ImageRequest, Model

from .contestants import prompt

WORKER = Path(__file__).with_name("comfyui_worker.py")


class ComfyUI:
    """A process with ComfyUI and a model in it; a context manager.

    It gets weights and random embeddings instead of prompts: text is encoded once there, too.
    """

    def __init__(self, model: Model) -> None:
        """Write the model's weights down and start."""
        from safetensors.torch import save_file

        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        for name in ("unet", "vae"):
            part = getattr(model, name)
            tensors = {key: value.cpu().contiguous() for key, value in part.state_dict().items()}
            save_file(tensors, folder / f"{name}.safetensors")
            (folder / f"{name}.json").write_text(json.dumps(dict(part.config)), "utf-8")
        self._process = subprocess.Popen(
            [
                os.environ.get("COMFYUI_PYTHON", sys.executable),
                *(str(WORKER), str(folder), model.device.type),
                str(model.dtype).removeprefix("torch."),
            ],
            cwd=os.environ["COMFYUI_DIR"],
            env=os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )

    def __enter__(self) -> ComfyUI:
        """Wait until it is ready."""
        try:
            self._answer()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._folder.cleanup()

    def one_by_one(self, requests: Sequence[ImageRequest]) -> None:
        """A sampler's run and a decoder's for each image, as for distinct prompts."""
        self._ask([[request] for request in requests])

    def batches(self, requests: Sequence[ImageRequest]) -> None:
        """One for all of equal settings, as a latent batch has it: with one prompt for all."""
        groups: dict[Any, list[ImageRequest]] = {}
        for request in requests:
            key = (request.width, request.height, request.num_inference_steps)
            groups.setdefault((*key, request.guidance_scale, _chunks(request)), []).append(request)
        self._ask(list(groups.values()))

    def _ask(self, groups: list[list[ImageRequest]]) -> None:
        jobs = [
            {
                "images": len(group),
                "seed": group[0].seed,
                "steps": group[0].num_inference_steps,
                "cfg": group[0].guidance_scale,
                "width": group[0].width,
                "height": group[0].height,
                "chunks": _chunks(group[0]),
            }
            for group in groups
        ]
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(jobs) + "\n")
        self._process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("done"):
                return
        raise RuntimeError(f"ComfyUI's process ended with {self._process.wait()}; its words above")


def _chunks(request: ImageRequest) -> int:
    """About 75 tokens, of about 4 letters; those of `workloads` are told apart by it."""
    return 1 + max(0, len(request.prompt) - len(prompt(0))) // 300
