"""BatchGenerate: prompts, seeds, images -> images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from ..core.errors import BatchSDXLError, InvalidRequest
from ..core.images.source import SourceImage, read_image
from ..core.prompts.columns import with_columns
from ..core.prompts.plan import Planned, both_starts, plan, summary
from ..core.prompts.prompt import Prompt
from ..core.prompts.prompt_list import text_prompt
from ..core.request.image_request import ImageRequest
from ..core.request.record import check_calls
from ..core.request.text import EMPTY_NEGATIVES
from ..core.samplers.table import check_steps
from ..core.wording import counted
from ..host import host
from ..host.batches import from_batches, named
from ..host.engine_settings import EngineSettings
from ..host.latents import from_latents
from ..host.paths import find_input
from ..host.rendering import ON_ERROR, Rendering
from ..host.types import ROWS, BatchNode, Inputs
from ..host.workers import ONE
from .batch_inputs import batch_inputs

if TYPE_CHECKING:
    import torch

    from ..core.models.model import Model
    from ..core.request.record import Record
    from ..host.latents import Latents


class Batch(NamedTuple):
    """What a run will make, and how that is told."""

    planned: Sequence[Planned]
    title: str

    @property
    def requests(self) -> list[ImageRequest]:
        """Of each image, in order."""
        return [one.request for one in self.planned]


class BatchGenerate(BatchNode):
    """Makes one image of each combination of prompt, seed and input image."""

    DESCRIPTION = (
        "Makes one image of each prompt and seed, many at a time. An image depends on its own "
        "prompt, seed and settings only: alone or in any batch it is the same, bit for bit. With "
        "images or latents wired in, each starts from its own (image to image)."
    )
    SEARCH_ALIASES: ClassVar[list[str]] = [
        *("sampler", "ksampler", "generate", "txt2img", "img2img"),
        *("text to image", "image to image", "batch"),
    ]
    RETURN_TYPES = ("IMAGE", ROWS, "LATENT")
    RETURN_NAMES = ("images", "rows", "latents")
    INPUT_IS_LIST = True
    GIVES = "begin"
    PLANS = "plan"
    OUTPUT_IS_LIST = (True, False, True)
    OUTPUT_TOOLTIPS = (
        "The images, in the order of the combinations; one batch for each run of one size.",
        "What each image was made from, for Save Image Batch.",
        "The latents that the images were decoded from, in the same batches.",
    )

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:
        """Inputs as ComfyUI wants them described."""
        return batch_inputs()

    @classmethod
    def VALIDATE_INPUTS(
        cls,
        width: list[int | None],
        height: list[int | None],
        sampler_name: list[str | None],
        scheduler: list[str | None],
        steps: Sequence[int | None] = (None,),
        strength: Sequence[float | None] = (None,),
        images: Sequence[None] | None = None,
        rows_per_call: Sequence[int | None] = (0,),
        vae_tile: Sequence[int | None] = (0,),
        latents: Sequence[None] | None = None,
        devices: Sequence[str | None] = (ONE,),
    ) -> bool | BatchSDXLError:
        """Refuse before anything runs what the values that are typed in tell.

        Args: None stands for what is wired in.
        """
        try:
            names = [name for name in (sampler_name[0], scheduler[0]) if name is not None]
            given: dict[str, Any] = {
                "scheduler": ":".join(names) if len(names) == 2 else None,
                "num_inference_steps": steps[0],
                "strength": strength[0],
                "width": width[0] or None,
                "height": height[0] or None,
            }
            known = {name: value for name, value in given.items() if value is not None}
            request = ImageRequest(prompt="", seed=0, **known)
            if len(names) == 2 and steps[0] is not None:
                check_steps(request.scheduler, steps[0])
            if images is not None and latents is not None:
                raise both_starts()
            if images is not None and steps[0] is not None and strength[0] is not None:
                request.check_steps()
            check_calls(rows_per_call[0] or 2, vae_tile[0] or None)
            host.current().check_devices(devices[0] or ONE)
        except BatchSDXLError as error:
            return error
        return True

    def run(self, **inputs: Any) -> tuple[list[torch.Tensor], list[Record], list[Latents]]:
        """Make the images."""
        return self.begin(**inputs).collect()

    def plan(
        self,
        prompts: Sequence[tuple[Prompt, ...] | str],
        width: list[int],
        height: list[int],
        steps: list[int],
        cfg: list[float],
        sampler_name: list[str],
        scheduler: list[str],
        strength: list[float],
        combine: list[str],
        seeds: Sequence[tuple[int, ...] | int] | None = None,
        images: list[torch.Tensor] | None = None,
        names: list[str] | None = None,
        variation_seeds: Sequence[tuple[int, ...] | int] | None = None,
        variation_strength: Sequence[float] = (0.1,),
        empty_negative: Sequence[str] = (EMPTY_NEGATIVES[0],),
        latents: Sequence[Latents] | None = None,
        **_others: Any,
    ) -> Batch:
        """What is to be made, for which the model need not be there."""
        _check_single(
            width=width,
            height=height,
            sampler_name=sampler_name,
            scheduler=scheduler,
            combine=combine,
            variation_strength=variation_strength,
            empty_negative=empty_negative,
        )
        columns: dict[str, Sequence[Any]] = {
            "num_inference_steps": steps,
            "guidance_scale": cfg,
            "strength": strength,
        }
        settings: dict[str, Any] = {
            "width": width[0] or None,
            "height": height[0] or None,
            "num_inference_steps": steps[0],
            "guidance_scale": cfg[0],
            "scheduler": f"{sampler_name[0]}:{scheduler[0]}",
            "strength": strength[0],
            "variation_strength": variation_strength[0] if variation_seeds else 0.0,
            "empty_negative": None if empty_negative[0] == "auto" else empty_negative[0],
        }
        lists: dict[str, Any] = {
            "prompts": with_columns(_prompts(prompts), columns),
            "images": None if images is None else _sources(images, names),
            "latents": None if latents is None else from_latents(latents, names),
            "seeds": _numbers(seeds),
            "variation_seeds": _numbers(variation_seeds),
        }
        planned = plan(combine[0], **lists, settings=settings, read_image=_read_image)
        for way in {(r.scheduler, r.num_inference_steps) for r, _ in planned}:
            check_steps(*way)
        return Batch(planned, summary(combine[0], planned, **lists))

    def begin(
        self,
        model: list[Model],
        unrounded: Sequence[bool] = (False,),
        rows_per_call: Sequence[int] = (0,),
        vae_tile: Sequence[int] = (0,),
        on_error: Sequence[str] = (ON_ERROR[0],),
        devices: Sequence[str] = (ONE,),
        unique_id: list[str] | None = None,
        planned: Batch | None = None,
        **inputs: Any,
    ) -> Rendering:
        """The run, in which images come one by one; `run` is the whole of it.

        Args:
            model: to make them with.
            unrounded: whether to give them as the VAE decoded them.
            rows_per_call: 0 chooses.
            vae_tile: 0 is off.
            on_error: of `ON_ERROR`.
            devices: of `DEVICES`.
            unique_id: of the node.
            planned: of `plan`, if that was asked before.
            **inputs: all others, for `plan`.
        """
        _check_single(
            unrounded=unrounded,
            rows_per_call=rows_per_call,
            vae_tile=vae_tile,
            on_error=on_error,
            devices=devices,
        )
        batch = self.plan(**inputs) if planned is None else planned
        node_id = (unique_id or [""])[0]
        engine = host.current().engine(
            model[0],
            EngineSettings(rows_per_call[0] or None, vae_tile[0] or None, unrounded[0]),
            devices=devices[0],
            node_id=node_id,
        )
        requests = [engine.with_size(request) for request in batch.requests]
        rows = [
            replace(row, refined_from=one.origin) if one.origin else row
            for row, one in zip(engine.describe_each(requests), batch.planned, strict=True)
        ]
        return Rendering(
            engine,
            requests,
            rows,
            unrounded=unrounded[0],
            skips=on_error[0] == "skip",
            title=batch.title,
            node_id=node_id,
        )


def _check_single(**settings: Sequence[Any]) -> None:
    for name, values in settings.items():
        if len({*values}) > 1:
            raise InvalidRequest(
                f"one {name} for all images",
                counted(len(values), "values"),
                "Lists go into prompts, seeds, steps, cfg and strength; other settings into the "
                "rows of Prompt List.",
            )


def _prompts(parts: Sequence[tuple[Prompt, ...] | str]) -> list[Prompt]:
    found: list[Prompt] = []
    for part in parts:
        found += [text_prompt(part)] if isinstance(part, str) else part
    return found


def _numbers(parts: Sequence[tuple[int, ...] | int] | None) -> list[int] | None:
    if parts is None:
        return None
    return [n for part in parts for n in ((part,) if isinstance(part, int) else part)]


def _sources(batches: list[torch.Tensor], names: list[str] | None) -> list[SourceImage]:
    # Of a file that Save Image Batch has just written, where it lies is nobody else's concern.
    names = names and [path.name if (path := Path(name)).is_absolute() else name for name in names]
    images = named("images", "image", from_batches(batches), names)
    return [SourceImage.of(image, name) for name, image in images]


def _read_image(name: str) -> SourceImage:
    return read_image(find_input(name))
