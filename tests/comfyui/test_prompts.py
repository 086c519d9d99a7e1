"""Prompts in ComfyUI's own SDXL text encoders and in ours: the same numbers and embeddings."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from batch_sdxl.core import Model
from batch_sdxl.core.models.inversion import with_inversions
from batch_sdxl.core.models.tokenizer_files import load_tokenizers
from batch_sdxl.core.text.chunks import to_chunks, to_ids
from batch_sdxl.core.text.encoder import TextEncoder
from safetensors.torch import load_file, save_file

#: Runs in ComfyUI's interpreter: tokens and embeddings of prompts, and the weights that made them.
SCRIPT = """
import json, sys
from pathlib import Path
folder, sizes = Path(sys.argv[1]), json.loads(sys.argv[2])
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options
comfy.options.enable_args_parsing()
import comfy.sd1_clip, comfy.sdxl_clip, torch
from safetensors.torch import save_file

prompts = json.loads((folder / "prompts.json").read_text("utf-8"))
tokenizers = {
    "l": comfy.sd1_clip.SDTokenizer(
        embedding_directory=str(folder), embedding_size=sizes["l"], embedding_key="clip_l"
    ),
    "g": comfy.sdxl_clip.SDXLClipGTokenizer(embedding_directory=str(folder)),
}
tokenizers["g"].embedding_size = sizes["g"]
layers = {"num_hidden_layers": 3, "intermediate_size": 64, "num_attention_heads": 4}
options = {
    f"clip_{k}_model_config": {**layers, "hidden_size": sizes[k], "projection_dim": sizes[k]}
    for k in sizes
}
model = comfy.sdxl_clip.SDXLClipModel(device="cpu", dtype=torch.float32, model_options=options)
draw = torch.Generator().manual_seed(0)
for name, values in sorted(model.named_parameters()):
    drawn = torch.randn(values.shape, generator=draw)
    if values.ndim > 1:
        values.data = drawn / values.shape[1] ** 0.5
    elif values.ndim == 1:
        values.data = float(name.endswith("weight")) + drawn / 4
save_file({n: t.clone() for n, t in model.state_dict().items()}, folder / "weights.safetensors")
numbers, embeddings = [], {}
with torch.inference_mode():
    for place, prompt in enumerate(prompts):
        tokens = {k: tokenizers[k].tokenize_with_weights(prompt) for k in tokenizers}
        numbers.append({
            k: [[0 if torch.is_tensor(t) else t for t, _ in chunk] for chunk in tokens[k]]
            for k in tokens
        })
        hidden, pooled = model.encode_token_weights(tokens)
        embeddings[f"{place} hidden"], embeddings[f"{place} pooled"] = hidden, pooled
(folder / "numbers.json").write_text(json.dumps(numbers))
save_file({n: t.clone() for n, t in embeddings.items()}, folder / "embeddings.safetensors")
"""

#: Widths of the two text encoders.
SIZES = {"l": 32, "g": 48}

#: Of the largest number of an embedding; weights make those of tens.
ROUNDING = 2e-5

#: Split at blanks.
WORDS = r"""
a the red circle, on masterpiece, best quality, hello! !!! stop! sale!! 1girl, 85mm f/1.8 ! break
photo-realistic supercalifragilisticexpialidocious antidisestablishmentarianism don't it's 12:30
naïve Étude Straße ΣΑΣ façade 日本語 京都の桜 москва 🎨 👩‍🚀 ﬁne x_y ½ №5 score_8_up, [cat] {dog}
<lora:x:0.8> $20 #1 100% "quoted" `code` a\(b\) \) \( (c) ... , . - -- embedding: art:deco
"""
WEIGHTS = ["", ":1.2", ":0.5", ":-1", ":1e1", ": 1.3 ", ":1_0", ":.7", ":one", ":", ":1.0"]


def some_text(draw: random.Random, words: int, depth: int = 0) -> str:
    """Words, some in brackets with weights, some of these without a partner."""
    found = []
    while words > 0:
        kind = draw.random()
        if kind < 0.15 and depth < 4:
            inner = some_text(draw, draw.randint(0, words), depth + 1)
            words -= len(inner.split())
            found.append(f"({inner}{draw.choice(WEIGHTS)})")
        elif kind < 0.17:
            found.append(draw.choice("()"))
        elif kind < 0.2:
            found.append(draw.choice(["embedding:word", "embedding:long,", "x,embedding:word"]))
        else:
            word = draw.choice(WORDS.split())
            found.append("word embedding:word" if word == "embedding:" else word)
        words -= 1
    text = ""
    for part in found:
        text += draw.choice([" "] * 8 + ["", "  ", "\n", "\t"]) + part
    # A name ends at a blank there, or at a comma before one; ours ends at any sign.
    for call in ("embedding:word", "embedding:long,"):
        text = text.replace(call, f" {call} ")
    return text.replace("x, embedding", "x,embedding")


def make_prompts() -> list[str]:
    draw = random.Random(1)
    tags = "word, ".join
    exact = [("a " * n).strip() for n in (74, 75, 76, 149, 150, 151)]
    exact += [f"{'a ' * n}(b c:1.2) {'d ' * 20}" for n in range(66, 78)]
    exact += [f"{'a ' * n}(b c d e f g h i j:1.2) {'d ' * 20}" for n in range(66, 78)]
    exact += ["", " ", "()", "(())", "!", "a <|endoftext|> b", "q" * 300, tags(["(red:1.1)"] * 40)]
    rest = 500 - len(exact)
    return exact + [
        some_text(draw, draw.choice([1, 2, 5, 10, 20, 40, 80, 110])) for _ in range(rest)
    ]


PROMPTS = make_prompts()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ComfyUI makes of all prompts."""
    folder = tmp_path_factory.mktemp("prompts")
    draw = torch.Generator().manual_seed(1)
    for name, count in {"word": 3, "long": 12}.items():
        vectors = {
            f"clip_{k}": torch.randn(count, size, generator=draw) for k, size in SIZES.items()
        }
        save_file(vectors, folder / f"{name}.safetensors")
    (folder / "prompts.json").write_text(json.dumps(PROMPTS), "utf-8")
    (folder / "script.py").write_text(SCRIPT)
    comfyui = os.environ["COMFYUI_DIR"]
    subprocess.run(
        [
            os.environ.get("COMFYUI_PYTHON", sys.executable),
            *(str(folder / "script.py"), str(folder), json.dumps(SIZES)),
        ],
        env=os.environ | {"PYTHONPATH": comfyui, "OMP_NUM_THREADS": "1"},
        cwd=comfyui,
        check=True,
    )
    return folder


@pytest.fixture(scope="module")
def model(folder: Path, tiny: Model) -> Model:
    """The same weights in transformers' classes."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    weights = load_file(folder / "weights.safetensors")
    classes: dict[str, tuple[Any, str]] = {
        "l": (CLIPTextModel, "quick_gelu"),
        "g": (CLIPTextModelWithProjection, "gelu"),
    }
    encoders = []
    for key, (kind, activation) in classes.items():
        config = CLIPTextConfig(
            vocab_size=49408,
            hidden_size=SIZES[key],
            projection_dim=SIZES[key],
            intermediate_size=64,
            num_attention_heads=4,
            num_hidden_layers=3,
            hidden_act=activation,
            bos_token_id=49406,
            eos_token_id=49407,
        )
        encoder = kind(config).eval().requires_grad_(False)
        own = encoder.state_dict()
        start = f"clip_{key}.transformer."
        found = {
            name.removeprefix(start): tensor
            for name, tensor in weights.items()
            if name.startswith(start)
        }
        if not any(name.startswith("text_model.") for name in own):
            found = {name.removeprefix("text_model."): tensor for name, tensor in found.items()}
        encoder.load_state_dict({n: t for n, t in found.items() if n in own}, strict=True)
        encoders.append(encoder)
    vocabulary = Path(os.environ["COMFYUI_DIR"]) / "comfy" / "sd1_tokenizer"
    changed = replace(
        tiny,
        tokenizers=load_tokenizers(vocabulary),
        text_encoders=(encoders[0], encoders[1]),
    )
    return with_inversions(changed, {n: folder / f"{n}.safetensors" for n in ("word", "long")})


def test_tokens_are_comfyuis(folder: Path, model: Model) -> None:
    numbers = json.loads((folder / "numbers.json").read_text())
    lengths = []
    for prompt, expected in zip(PROMPTS, numbers, strict=True):
        chunks = to_chunks(prompt, model.tokenizers[0], model.inversions)
        for key, tokenizer in zip("lg", model.tokenizers, strict=True):
            # ComfyUI keeps no place of its own for a learned vector's number.
            assert [to_ids(chunk, tokenizer) for chunk in chunks] == expected[key], prompt
        lengths.append(sum(map(len, chunks)))
    assert min(lengths) == 0
    assert max(lengths) > 350


def test_embeddings_are_comfyuis(folder: Path, model: Model) -> None:
    expected = load_file(folder / "embeddings.safetensors")
    encoder = TextEncoder(model)
    worst = 0.0
    for place, prompt in enumerate(PROMPTS):
        made = encoder.encode(prompt, chunks=encoder.count(prompt))
        hidden, pooled = expected[f"{place} hidden"], expected[f"{place} pooled"]
        assert made.prompt_embeds.shape == hidden.shape
        scale = hidden.abs().max().clamp(min=1)
        worst = max(
            worst,
            float(((made.prompt_embeds - hidden) / scale).abs().max()),
            float((made.pooled_prompt_embeds - pooled).abs().max()),
        )
    assert worst < ROUNDING
