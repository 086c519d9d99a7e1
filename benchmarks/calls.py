"""The bare calls that images are made of, without an engine around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from batch_sdxl.core import Model
from torch.utils.flop_counter import FlopCounterMode

#: Name -> tensor, each with a row a sample.
Inputs = dict[str, torch.Tensor]


def unet_inputs(model: Model, rows: int, size: int, seed: int = 0) -> Inputs:
    """Noise for a UNet call of so many rows for images of `size` pixels squared."""
    config = model.unet.config
    pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
    draw = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(rows, *shape, generator=draw).to(model.device, model.dtype)

    ids = torch.tensor([[size, size, 0, 0, size, size]] * rows)
    return {
        "sample": noise(4, size // 8, size // 8),
        "timestep": torch.linspace(981, 1, rows).to(model.device),
        "encoder_hidden_states": noise(77, config.cross_attention_dim),
        "text_embeds": noise(pooled),
        "time_ids": ids.to(model.device, model.dtype),
    }


def some(inputs: Inputs, which: Any) -> Inputs:
    """The rows that an index chooses."""
    return {name: tensor[which] for name, tensor in inputs.items()}


def call_unet(unet: Any, inputs: Inputs) -> torch.Tensor:
    """(rows, 4, H/8, W/8) in the UNet's dtype."""
    (output,) = unet(
        inputs["sample"],
        inputs["timestep"],
        encoder_hidden_states=inputs["encoder_hidden_states"],
        added_cond_kwargs={"text_embeds": inputs["text_embeds"], "time_ids": inputs["time_ids"]},
        return_dict=False,
    )
    result: torch.Tensor = output
    return result


def latents(model: Model, images: int, size: int) -> torch.Tensor:
    """Noise (images, 4, H/8, W/8) fp32 on the device, as the VAE takes it."""
    draw = torch.Generator().manual_seed(1)
    return torch.randn(images, 4, size // 8, size // 8, generator=draw).to(model.device)


def captured(unet: Any, inputs: Inputs) -> Callable[[], torch.Tensor]:
    """A call captured as a CUDA graph; each replay computes from what is in `inputs` by then."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(2):
            call_unet(unet, inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = call_unet(unet, inputs)

    def replay() -> torch.Tensor:
        graph.replay()
        return output

    return replay


def operations(model: Model, size: int) -> tuple[float, float]:
    """Floating-point operations of a row of a UNet call, and of an image through the VAE.

    Those of matrix products, convolutions and attention, two for each multiplication and addition.
    """
    unet, vae = (_on_meta(part) for part in (model.unet, model.vae))
    inputs = {name: rows.to("meta") for name, rows in unet_inputs(model, 1, size).items()}
    image = latents(model, 1, size).to("meta", vae.dtype)
    counts = []
    for call in (lambda: call_unet(unet, inputs), lambda: vae.decode(image)):
        counter = FlopCounterMode(display=False)
        # The UNet makes some tensors of its own, which are to be there too.
        with torch.inference_mode(), counter, torch.device("meta"):
            call()
        counts.append(float(counter.get_total_flops()))
    return counts[0], counts[1]


def _on_meta(module: Any) -> Any:
    """A copy without weights."""
    with torch.device("meta"):
        skeleton = type(module).from_config(module.config)
    return skeleton.to(module.dtype)
