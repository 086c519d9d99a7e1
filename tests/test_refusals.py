"""Files that are no SDXL checkpoint are told by their first kilobytes."""

import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from batch_sdxl.core import load_model
from batch_sdxl.core.errors import BatchSDXLError, UnsupportedModel
from batch_sdxl.core.models.header import read_header

UNET = "model.diffusion_model."


def write_header(path: Path, shapes: dict[str, tuple[int, ...]], size: int | None = None) -> Path:
    """A file with tensors of these shapes in fp16, whose content is left out (a sparse file)."""
    entries, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 2 * int(np.prod(shape, dtype=np.int64))
        entries[name] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    head = json.dumps(entries).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        file.truncate(8 + len(head) + offset if size is None else size)
    return path


SDXL_UNET: dict[str, tuple[int, ...]] = {
    UNET + "input_blocks.0.0.weight": (320, 4, 3, 3),
    UNET + "label_emb.0.0.weight": (1280, 2816),
}
FAMILIES: dict[str, dict[str, tuple[int, ...]]] = {
    "Stable Diffusion 1": {
        "cond_stage_model.transformer.text_model.final_layer_norm.weight": (768,)
    },
    "Stable Diffusion 2": {"cond_stage_model.model.ln_final.weight": (1024,)},
    "without text encoders": {UNET + "input_blocks.0.0.weight": (320, 4, 3, 3)},
    "refiner": {"conditioner.embedders.0.model.ln_final.weight": (1280,)},
    "Flux": {"double_blocks.0.img_attn.qkv.weight": (9216, 3072)},
    "Stable Diffusion 3": {UNET + "joint_blocks.0.context_block.attn.qkv.weight": (4608, 1536)},
    "ControlNet": {"control_model.time_embed.0.weight": (1280, 320)},
    "LoRA": {"lora_unet_down_blocks_1_attentions_0_proj_in.lora_down.weight": (8, 640)},
    "Playground": {"edm_mean": (4,)},
    "CosXL": {"edm_vpred.sigma_max": ()},
    "VAE alone": {"decoder.conv_in.weight": (512, 4, 3, 3)},
    "UNet alone": SDXL_UNET,
    r"text encoders under names not known here \(text_encoders\.clip_l\.": SDXL_UNET
    | {"text_encoders.clip_l.transformer.text_model.encoder.layers.0.mlp.fc1.bias": (3072,)},
    "ComfyUI's quantization": SDXL_UNET | {UNET + "out.2.comfy_quant": (20,)},
    "bitsandbytes": SDXL_UNET | {UNET + "out.2.weight.absmax": (20,)},
    **{
        f"inpainting or editing, with {channels} input channels": {
            **SDXL_UNET,
            UNET + "input_blocks.0.0.weight": (320, channels, 3, 3),
        }
        for channels in (8, 9)
    },
    "diffusers' layout": {"down_blocks.0.resnets.0.conv1.weight": (320, 320, 3, 3)},
    "no model known": {"something.weight": (2, 2)},
    "no model known here": {},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_other_models_are_told_by_their_header(tmp_path: Path, kind: str) -> None:
    path = write_header(tmp_path / "model.safetensors", FAMILIES[kind])
    with pytest.raises(UnsupportedModel, match=kind) as caught:
        load_model(path, device="cpu")
    assert_one_sentence(caught.value, path)


def assert_one_sentence(error: BatchSDXLError, path: Path) -> None:
    assert str(path) in error.got
    assert "\n" not in str(error)
    assert error.expected
    assert error.action


def entry(shape: list[int], start: int, end: int) -> dict[str, Any]:
    return {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}


def whole(entries: dict[str, Any] | bytes, numbers: int = 0, length: int | None = None) -> bytes:
    """A file with this header, filled up to a length, and so many bytes of numbers."""
    head = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    head = head.ljust(length or 0)
    return struct.pack("<Q", len(head)) + head + bytes(numbers)


@pytest.mark.parametrize("length", [316, 640, 19280])
def test_a_file_is_judged_by_its_structure_not_its_first_bytes(tmp_path: Path, length: int) -> None:
    """These lengths of a header begin as a web page, a pickle and a zip file do."""
    path = tmp_path / "model.safetensors"
    path.write_bytes(whole({"a": entry([2], 0, 4)}, 4, length))
    assert read_header(path).shapes == {"a": (2,)}
    with pytest.raises(UnsupportedModel, match="no model known here"):
        load_model(path, device="cpu")


@pytest.mark.parametrize("length", [640, 19280])
def test_the_ending_of_a_pickle_is_refused_whatever_is_in_it(tmp_path: Path, length: int) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(whole({"a": entry([2], 0, 4)}, 4, length))
    with pytest.raises(UnsupportedModel, match="pickled"):
        read_header(path)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_renamed_pickle_is_told_by_its_opcodes(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"state_dict": list(range(10_000))}, protocol))
    with pytest.raises(UnsupportedModel, match="pickled"):
        read_header(path)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("model.ckpt", b"PK\x03\x04", "pickled"),
        ("model.pt", b"\x80\x02}q\x00.", "pickled"),
        ("model.pth", b"", "pickled"),
        ("model.bin", b"PK\x03\x04", "pickled"),
        ("renamed.safetensors", b"PK\x03\x04" + bytes(99), "pickled"),
        ("model.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        ("model.safetensors", b"<!DOCTYPE html>", "web page"),
        ("model.safetensors", b"GGUF\x03\x00\x00\x00", "GGUF"),
        ("model.safetensors", b"", "without a header"),
        ("model.safetensors", bytes(10_000), "without a header"),
        ("model.safetensors", b"\xff" * 10_000, "without a header"),
        ("model.safetensors", struct.pack("<Q", 9) + b'{"a": 1}}', "damaged header"),
        ("model.safetensors", struct.pack("<Q", 9) + b'{"a": [1}', "damaged header"),
        ("model.safetensors", whole(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "damaged"),
        ("model.safetensors", whole(b'{"a":' * 9_000), "damaged header"),
        ("model.safetensors", struct.pack("<Q", 2**63) + b"{}", "end within the header"),
        ("model.safetensors", whole({"a": entry([-1, 4], 0, 4)}, 4), "damaged header"),
        ("model.safetensors", whole({"a": entry([2**40, 2**40], 0, 4)}, 4), "damaged header"),
        ("model.safetensors", whole({"a": entry([4], 0, 8), "b": entry([4], 0, 8)}, 8), "damaged"),
        ("model.safetensors", whole({"a": entry([2], 4, 8)}, 8), "damaged header"),
        ("model.safetensors", whole({"a": entry([2], 0, 4)}, 5), "bytes instead of"),
        ("model.safetensors", whole({"a": entry([3], 0, 4)}, 4), "damaged header"),
        ("model.safetensors", whole({"a": entry([2], 0, 4) | {"dtype": "X"}}, 4), "damaged"),
        # Lengths of a header that begin as a pickle does, or a web page, in a file cut short.
        (
            "model.safetensors",
            whole({"a": entry([2], 0, 4)}, length=640)[:600],
            "within the header",
        ),
        ("model.safetensors", whole({"a": entry([2], 0, 4)}, length=316), "bytes instead of"),
    ],
)
def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, name: str, content: bytes, found: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UnsupportedModel, match=found) as caught:
        load_model(path, device="cpu")
    assert_one_sentence(caught.value, path)


def test_the_true_sizes_are_inferred() -> None:
    """The configurations read off a header of full SDXL are those that SDXL is published with."""
    from batch_sdxl.core.models import sdxl_config as known

    shapes = {
        "input_blocks.1.0.out_layers.3.weight": (320, 320, 3, 3),
        "input_blocks.4.0.out_layers.3.weight": (640, 640, 3, 3),
        "input_blocks.7.0.out_layers.3.weight": (1280, 1280, 3, 3),
        "label_emb.0.0.weight": (1280, 2816),
        "input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048),
        "input_blocks.3.0.op.weight": (320, 320, 3, 3),
    }
    depths = {
        2: [f"input_blocks.{n}" for n in (4, 5)] + [f"output_blocks.{n}" for n in (3, 4, 5)],
        10: [f"input_blocks.{n}" for n in (7, 8)] + [f"output_blocks.{n}" for n in (0, 1, 2)],
    }
    depths[10].append("middle_block")
    shapes |= {
        f"{block}.1.transformer_blocks.{n}.norm1.weight": ()
        for depth, blocks in depths.items()
        for block in blocks
        for n in range(depth)
    }
    assert known.unet_config(shapes, 1280) == known.UNET
    first = {
        "text_model.embeddings.token_embedding.weight": (49408, 768),
        "text_model.embeddings.position_embedding.weight": (77, 768),
        "text_model.encoder.layers.0.mlp.fc1.weight": (3072, 768),
    }
    assert known.text_encoder_config(first) == known.TEXT_ENCODER
    second = {
        "token_embedding.weight": (49408, 1280),
        "positional_embedding": (77, 1280),
        "transformer.resblocks.0.mlp.c_fc.weight": (5120, 1280),
        "text_projection": (1280, 1280),
    }
    assert known.text_encoder_2_config(second) == known.TEXT_ENCODER_2
    vae = {
        f"encoder.down.{n}.block.0.conv1.weight": (w,) for n, w in enumerate((128, 256, 512, 512))
    }
    assert known.vae_config(vae) == known.VAE
