"""LoRAs of every kind in ComfyUI's own loader and in ours: the same weights."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from batch_sdxl.core import Model
from batch_sdxl.core.models.lora import apply_lora
from batch_sdxl.core.models.original_names import original_name
from safetensors.torch import load_file, save_file

#: Runs in ComfyUI's interpreter: the weights that its loader makes of each file.
SCRIPT = """
import json, sys
from pathlib import Path
folder = Path(sys.argv[1])
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.lora, torch
from safetensors.torch import load_file, save_file

weights = load_file(folder / "weights.safetensors")


class Model:
    class model_config:
        unet_config = {
            "num_res_blocks": [2, 2], "channel_mult": [1, 2], "transformer_depth": [0, 0, 2, 2],
            "transformer_depth_output": [0, 0, 0, 2, 2, 2], "transformer_depth_middle": 2,
        }

    def state_dict(self):
        return weights


keys = comfy.lora.model_lora_keys_clip(Model(), comfy.lora.model_lora_keys_unet(Model(), {}))
for case in sorted(folder.glob("case_*.safetensors")):
    strength = json.loads(case.with_suffix(".json").read_text())
    changed = {}
    for name, patch in comfy.lora.load_lora(load_file(case), keys).items():
        patches = [(strength, patch, 1.0, None, None)]
        changed[name] = comfy.lora.calculate_weight(patches, weights[name].clone(), name)
    save_file({n: t.contiguous() for n, t in changed.items()}, case.with_name(case.name[5:]))
"""

#: Largest difference, of the largest number of a weight.
ROUNDING = 1e-6

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q"
FEED = "up_blocks.0.attentions.1.transformer_blocks.0.ff.net.2"
PROJECTION = "mid_block.attentions.0.proj_in"
CONVOLUTION = "down_blocks.0.resnets.1.conv1"
DOWNSAMPLER = "down_blocks.0.downsamplers.0.conv"
NORM = "up_blocks.0.resnets.0.norm1"
MATRICES = (ATTENTION, FEED, PROJECTION)
CONVOLUTIONS = (CONVOLUTION, DOWNSAMPLER)
TEXT = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.2.mlp.fc1")

Parts = dict[str, torch.Tensor]


class Draw:
    """Parts of each kind for a weight, drawn."""

    def __init__(self) -> None:
        self._generator = torch.Generator().manual_seed(0)

    def __call__(self, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=self._generator) / 3

    def lora(self, out: int, ins: int, *kernel: int) -> Parts:
        ones = [1] * len(kernel)
        parts = {"lora_up.weight": self(out, 4, *ones), "lora_down.weight": self(4, ins, *kernel)}
        return parts | {"alpha": torch.tensor(2.0)}

    def locon(self, out: int, ins: int, *kernel: int) -> Parts:
        return {
            "lora_up.weight": self(out, 4, 1, 1),
            "lora_mid.weight": self(4, 4, *kernel),
            "lora_down.weight": self(4, ins, 1, 1),
            "alpha": torch.tensor(2.0),
        }

    def dora(self, out: int, ins: int, *kernel: int) -> Parts:
        scale = self(1, ins, *[1] * len(kernel)).abs() + 0.5
        return self.lora(out, ins, *kernel) | {"dora_scale": scale}

    def dora_of_outputs(self, out: int, ins: int, *kernel: int) -> Parts:
        scale = self(out, 1, *[1] * len(kernel)).abs() + 0.5
        return self.loha(out, ins, *kernel) | {"dora_scale": scale}

    def loha(self, out: int, ins: int, *kernel: int) -> Parts:
        columns = ins * int(torch.Size(kernel).numel())
        parts = {f"hada_w{n}_a": self(out, 4) for n in (1, 2)}
        parts |= {f"hada_w{n}_b": self(4, columns) for n in (1, 2)}
        return parts | {"alpha": torch.tensor(2.0)}

    def loha_tucker(self, out: int, ins: int, *kernel: int) -> Parts:
        parts = {f"hada_w{n}_a": self(4, out) for n in (1, 2)}
        parts |= {f"hada_w{n}_b": self(4, ins) for n in (1, 2)}
        return parts | {f"hada_t{n}": self(4, 4, *kernel) for n in (1, 2)}

    def lokr(self, out: int, ins: int, *kernel: int) -> Parts:
        return {
            "lokr_w1": self(4, 4),
            "lokr_w2": self(out // 4, ins // 4, *kernel),
            "alpha": torch.tensor(7.0),
        }

    def lokr_low(self, out: int, ins: int, *kernel: int) -> Parts:
        columns = ins // 4 * int(torch.Size(kernel).numel())
        return {
            "lokr_w1_a": self(4, 2),
            "lokr_w1_b": self(2, 4),
            "lokr_w2_a": self(out // 4, 3),
            "lokr_w2_b": self(3, columns),
            "alpha": torch.tensor(2.0),
        }

    def glora(self, out: int, ins: int, *kernel: int) -> Parts:
        columns = ins * int(torch.Size(kernel).numel())
        return {
            "a1.weight": self(ins, 4),
            "a2.weight": self(4, ins),
            "b1.weight": self(out, 4),
            "b2.weight": self(4, columns),
            "alpha": torch.tensor(2.0),
        }

    def glora_old(self, out: int, ins: int, *kernel: int) -> Parts:
        columns = ins * int(torch.Size(kernel).numel())
        return {
            "a1.weight": self(4, columns),
            "a2.weight": self(columns, 4),
            "b1.weight": self(4, columns),
            "b2.weight": self(out, 4),
        }

    def oft(self, out: int, ins: int, *kernel: int) -> Parts:
        return {"oft_blocks": self(out // 8, 8, 8)}

    def oft_bounded(self, out: int, ins: int, *kernel: int) -> Parts:
        return self.oft(out, ins, *kernel) | {"alpha": torch.tensor(0.5)}

    def boft(self, out: int, ins: int, *kernel: int) -> Parts:
        return {
            "oft_blocks": self(3, out // 4, 4, 4),
            "rescale": self(out, 1, *[1] * len(kernel)) + 1,
            "alpha": torch.tensor(0.5),
        }

    def diff(self, *shape: int) -> Parts:
        return {"diff": self(*shape), "diff_b": self(shape[0])}

    def norm(self, *shape: int) -> Parts:
        return {"w_norm": self(*shape), "b_norm": self(*shape)}

    def set_weight(self, *shape: int) -> Parts:
        return {"set_weight": self(*shape)}


#: Method of `Draw` -> the weights that it is drawn for. Not there: LoKr of a Tucker core, at which
#: ComfyUI's own Kronecker product fails.
KINDS = {
    "lora": (*MATRICES, *CONVOLUTIONS),
    "locon": CONVOLUTIONS,
    "dora": (*MATRICES, *CONVOLUTIONS),
    "dora_of_outputs": (*MATRICES, *CONVOLUTIONS),
    "loha": (*MATRICES, *CONVOLUTIONS),
    "loha_tucker": CONVOLUTIONS,
    "lokr": (*MATRICES, *CONVOLUTIONS),
    "lokr_low": (*MATRICES, *CONVOLUTIONS),
    "glora": (*MATRICES, *CONVOLUTIONS),
    "glora_old": (*MATRICES, *CONVOLUTIONS),
    "oft": (*MATRICES, *CONVOLUTIONS),
    "oft_bounded": (*MATRICES, *CONVOLUTIONS),
    "boft": (*MATRICES, *CONVOLUTIONS),
    "diff": (FEED, PROJECTION, *CONVOLUTIONS),
    "norm": (NORM,),
    "set_weight": (*MATRICES, *CONVOLUTIONS),
}
STRENGTHS = (1.0, 0.6, -0.4)

#: How a file names a module of the UNet, and how the factors of a LoRA for it end.
UNET_NAMES: dict[str, Callable[[str], str]] = {
    "kohya": lambda path: f"lora_unet_{original_name(path).replace('.', '_')}.lora_{{}}.weight",
    "kohya, diffusers": lambda path: f"lora_unet_{path.replace('.', '_')}.lora_{{}}.weight",
    "lycoris": lambda path: f"lycoris_{path.replace('.', '_')}.lora_{{}}.weight",
    "original": lambda path: f"diffusion_model.{original_name(path)}.lora_{{}}.weight",
    "processor": lambda path: f"unet.{path.replace('.to_', '.processor.to_')}_lora.{{}}.weight",
    "bare": lambda path: f"{path.replace('.to_', '.processor.to_')}_lora.{{}}.weight",
}
#: The same of text encoders, by the number of the encoder.
TEXT_NAMES: dict[str, Callable[[str, int], str]] = {
    "kohya": lambda path, n: f"lora_te{n}_text_model_{path.replace('.', '_')}.lora_{{}}.weight",
    "diffusers": lambda path, n: (
        f"text_encoder{'_2' if n == 2 else ''}.text_model.{path}.lora_linear_layer.{{}}.weight"
    ),
    "generic": lambda path, n: (
        f"text_encoders.clip_{'lg'[n - 1]}.transformer.text_model.{path}.lora_{{}}.weight"
    ),
}


def theirs(model: Model) -> dict[tuple[str, str], str]:
    """Component and parameter -> ComfyUI's name of it."""
    names = {}
    for name, _ in model.unet.named_parameters():
        module, _, end = name.rpartition(".")
        names["unet", name] = f"diffusion_model.{original_name(module)}.{end}"
    for key, component, encoder in zip(
        "lg", ("text_encoder", "text_encoder_2"), model.text_encoders, strict=True
    ):
        for name, _ in encoder.named_parameters():
            is_inner = name.startswith(("text_model.", "text_projection."))
            inner = name if is_inner else f"text_model.{name}"
            names[component, name] = f"clip_{key}.transformer.{inner}"
    return names


def parameters(model: Model) -> dict[tuple[str, str], torch.Tensor]:
    """Component and name -> weight."""
    parts = {"unet": model.unet}
    parts |= dict(zip(("text_encoder", "text_encoder_2"), model.text_encoders, strict=True))
    return {(key, name): w for key, part in parts.items() for name, w in part.named_parameters()}


def cases(model: Model) -> dict[str, tuple[float, Parts]]:
    """Name of a file -> the strength that it is applied with, and what it holds."""
    draw = Draw()
    found = {}
    for kind, paths in KINDS.items():
        tensors = {
            f"lora_unet_{path.replace('.', '_')}.{part}": tensor
            for path in paths
            for part, tensor in getattr(draw, kind)(
                *model.unet.get_submodule(path).weight.shape
            ).items()
        }
        for strength in STRENGTHS:
            found[f"{kind} {strength}"] = strength, tensors
    for style, name in UNET_NAMES.items():
        paths = (ATTENTION,) if style in ("processor", "bare") else MATRICES
        tensors = {}
        for path in paths:
            parts = draw.lora(*model.unet.get_submodule(path).weight.shape)
            for end in ("up", "down"):
                tensors[name(path).format(end)] = parts[f"lora_{end}.weight"]
        found[f"unet {style}"] = 1.0, tensors
    for style, text_name in TEXT_NAMES.items():
        tensors = {}
        for number, encoder in enumerate(model.text_encoders, 1):
            inner = getattr(encoder, "text_model", encoder)
            for path in TEXT:
                parts = draw.lora(*inner.get_submodule(path).weight.shape)
                for end in ("up", "down"):
                    tensors[text_name(path, number).format(end)] = parts[f"lora_{end}.weight"]
        found[f"text {style}"] = 1.0, tensors
    found["projection"] = (
        1.0,
        {
            f"lora_te{n}_text_projection.{part}": tensor
            for n in (1, 2)
            for part, tensor in draw.lora(32, 32).items()
        },
    )
    found["bias"] = 1.0, {"diffusion_model.out.2.bias.diff": draw(4)}
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: Model) -> Path:
    """What ComfyUI makes of every case."""
    folder = tmp_path_factory.mktemp("loras")
    own = parameters(tiny)
    weights = {name: own[key].clone() for key, name in theirs(tiny).items()}
    weights["clip_l.transformer.text_projection.weight"] = torch.eye(32)
    save_file(weights, folder / "weights.safetensors")
    for name, (strength, tensors) in cases(tiny).items():
        save_file(tensors, folder / f"case_{name}.safetensors")
        (folder / f"case_{name}.json").write_text(json.dumps(strength))
    (folder / "script.py").write_text(SCRIPT)
    comfyui = os.environ["COMFYUI_DIR"]
    subprocess.run(
        [
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            *(str(folder / "script.py"), str(folder)),
        ],
        env=os.environ | {"PYTHONPATH": comfyui, "OMP_NUM_THREADS": "1"},
        cwd=comfyui,
        check=True,
    )
    return folder


def test_weights_are_comfyuis(folder: Path, tiny: Model) -> None:
    before, names = parameters(tiny), theirs(tiny)
    for case, (strength, _) in cases(tiny).items():
        made = parameters(apply_lora(tiny, folder / f"case_{case}.safetensors", strength))
        expected = load_file(folder / f"{case}.safetensors")
        # The first encoder's pooled text is used by no one.
        expected.pop("clip_l.transformer.text_projection.weight", None)
        touched = {names[key] for key in made if made[key] is not before[key]}
        assert touched == expected.keys(), case
        for key, name in names.items():
            if name in touched:
                # A case that ComfyUI gave up leaves the weight as it was.
                assert not torch.equal(expected[name], before[key]), (case, name)
                worst = (made[key] - expected[name]).abs().max() / expected[name].abs().max()
                assert worst <= ROUNDING, (case, name, float(worst))
