"""What the configurations in a model's folder may say: known keys, each of its kind and in bounds.

They are data and no orders. A key that is not here is left out, so that nothing in a file chooses
code, its attention implementation or where to fetch it; bounds are far above SDXL's own values, and
keep what is built from a file small.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import UnsupportedModel

#: Most bytes of a file; SDXL's own have 2 kB.
_LARGEST = 1_000_000


class Rule(NamedTuple):
    """What a key may say.

    Attributes:
        expected: in words.
        allows: whether a value is that.
        required: whether it must be there.
    """

    expected: str
    allows: Callable[[Any], bool]
    required: bool = False


def _whole(low: int, high: int) -> Rule:
    return Rule(
        f"a whole number from {low} to {high}", lambda v: type(v) is int and low <= v <= high
    )


def _number(low: float, high: float, *, above: bool = False) -> Rule:
    """From `low`, which itself is left out if it must be `above` that."""

    def allows(value: object) -> bool:
        if type(value) is not int and type(value) is not float:
            return False
        return low <= value <= high and not (above and value == low)  # NaN is neither

    return Rule(f"a number {'above' if above else 'from'} {low}, up to {high}", allows)


def _only(*values: str | float | None) -> Rule:
    """One of a few, of the same type: 1 is not True."""
    return Rule(
        " or ".join(json.dumps(value) for value in values),
        lambda v: any(type(v) is type(value) and v == value for value in values),
    )


def _list(rule: Rule, low: int, high: int) -> Rule:
    return Rule(
        f"a list of {low} to {high}, each {rule.expected}",
        lambda v: isinstance(v, list) and low <= len(v) <= high and all(map(rule.allows, v)),
    )


def _either(*rules: Rule) -> Rule:
    return Rule(
        ", or ".join(rule.expected for rule in rules),
        lambda v: any(rule.allows(v) for rule in rules),
    )


def _required(rule: Rule) -> Rule:
    return rule._replace(required=True)


_NONE = _only(None)
_FLAG = _only(True, False)
_CHANNELS = _whole(1, 4096)
_GROUPS = _whole(1, 512)
_EPSILON = _number(0, 1, above=True)
_ACTIVATION = _only("silu", "swish", "mish", "gelu", "relu")

#: Levels of a UNet; SDXL has 3, of 2 layers with up to 10 transformer blocks each.
_LEVELS = 4
_DEPTH = _whole(0, 24)
_DEPTHS = _either(_DEPTH, _list(_either(_DEPTH, _list(_DEPTH, 1, 5)), 1, _LEVELS))

#: Of a UNet2DConditionModel that is called as SDXL's: with two texts and six sizes.
UNET: dict[str, Rule] = {
    "sample_size": _required(_whole(1, 1024)),
    "in_channels": _only(4),
    "out_channels": _only(4),
    "center_input_sample": _FLAG,
    "flip_sin_to_cos": _FLAG,
    "freq_shift": _number(0, 1),
    "down_block_types": _required(_list(_only("DownBlock2D", "CrossAttnDownBlock2D"), 1, _LEVELS)),
    "mid_block_type": _only("UNetMidBlock2DCrossAttn", "UNetMidBlock2D", None),
    "up_block_types": _required(_list(_only("UpBlock2D", "CrossAttnUpBlock2D"), 1, _LEVELS)),
    "only_cross_attention": _only(False),
    "block_out_channels": _required(_list(_CHANNELS, 1, _LEVELS)),
    "layers_per_block": _either(_whole(1, 4), _list(_whole(1, 4), 1, _LEVELS)),
    "downsample_padding": _whole(0, 1),
    "mid_block_scale_factor": _EPSILON,
    "dropout": _number(0, 1),
    "act_fn": _ACTIVATION,
    "norm_num_groups": _GROUPS,
    "norm_eps": _EPSILON,
    "cross_attention_dim": _required(_whole(1, 16384)),
    "transformer_layers_per_block": _DEPTHS,
    "reverse_transformer_layers_per_block": _either(_NONE, _DEPTHS),
    "encoder_hid_dim": _NONE,
    "encoder_hid_dim_type": _NONE,
    # diffusers' name for the number of heads.
    "attention_head_dim": _either(_whole(1, 1024), _list(_whole(1, 1024), 1, _LEVELS)),
    "num_attention_heads": _NONE,
    "dual_cross_attention": _only(False),
    "use_linear_projection": _FLAG,
    "class_embed_type": _NONE,
    "addition_embed_type": _required(_only("text_time")),
    "addition_time_embed_dim": _required(_whole(1, 4096)),
    "num_class_embeds": _NONE,
    "upcast_attention": _only(False, None),
    "resnet_time_scale_shift": _only("default", "scale_shift"),
    "resnet_skip_time_act": _FLAG,
    "resnet_out_scale_factor": _EPSILON,
    "time_embedding_type": _only("positional"),
    "time_embedding_dim": _NONE,
    "time_embedding_act_fn": _NONE,
    "timestep_post_act": _NONE,
    "time_cond_proj_dim": _NONE,
    "conv_in_kernel": _only(3),
    "conv_out_kernel": _only(3),
    "projection_class_embeddings_input_dim": _required(_whole(7, 65536)),
    "attention_type": _only("default"),
    "class_embeddings_concat": _only(False),
    "mid_block_only_cross_attention": _only(None, False),
    "cross_attention_norm": _NONE,
}

#: Of an AutoencoderKL that makes 8 x 8 pixels of a latent's place, without a shift of its own.
VAE: dict[str, Rule] = {
    "in_channels": _only(3),
    "out_channels": _only(3),
    "down_block_types": _list(_only("DownEncoderBlock2D"), 4, 4),
    "up_block_types": _list(_only("UpDecoderBlock2D"), 4, 4),
    "block_out_channels": _required(_list(_CHANNELS, 4, 4)),
    "layers_per_block": _whole(1, 8),
    "act_fn": _ACTIVATION,
    "latent_channels": _only(4),
    "norm_num_groups": _GROUPS,
    "sample_size": _whole(1, 8192),
    "scaling_factor": _required(_number(0, 100, above=True)),
    "shift_factor": _only(None, 0, 0.0),
    "latents_mean": _NONE,
    "latents_std": _NONE,
    "force_upcast": _only(True, False, None),
    "use_quant_conv": _FLAG,
    "use_post_quant_conv": _FLAG,
    "mid_block_add_attention": _FLAG,
}

_TOKEN = _whole(0, 10**6)

#: Of a CLIPTextConfig that reads 77 tokens.
TEXT: dict[str, Rule] = {
    "vocab_size": _whole(3, 200_000),
    "hidden_size": _whole(1, 8192),
    "intermediate_size": _whole(1, 32768),
    "projection_dim": _whole(1, 8192),
    "num_hidden_layers": _whole(1, 64),
    "num_attention_heads": _whole(1, 256),
    "max_position_embeddings": _whole(77, 1024),
    "hidden_act": _only("quick_gelu", "gelu"),
    "layer_norm_eps": _EPSILON,
    "pad_token_id": _either(_TOKEN, _NONE),
    "bos_token_id": _either(_TOKEN, _NONE),
    "eos_token_id": _TOKEN,
}

_BETA = _number(0, 0.999, above=True)
_STEPS = 10_000
#: Least signal at the last step, as a share of its variance, that noise may leave. SDXL's leaves
#: 0.0047; where it is to be nothing, it is brought there from such a value (arXiv:2305.08891).
_SIGNAL = 1e-8

#: What a scheduler's configuration says of the model; how to step is chosen for each image.
SCHEDULER: dict[str, Rule] = {
    "_class_name": Rule("the name of a class", lambda v: isinstance(v, str) and len(v) <= 100),
    "num_train_timesteps": _whole(1, _STEPS),
    "beta_start": _BETA,
    "beta_end": _BETA,
    "beta_schedule": _only("linear", "scaled_linear", "squaredcos_cap_v2"),
    "trained_betas": _either(_NONE, _list(_BETA, 1, _STEPS)),
    "prediction_type": _only("epsilon", "v_prediction"),
    "rescale_betas_zero_snr": _FLAG,
    "timestep_spacing": _only("leading", "trailing", "linspace"),
    "steps_offset": _whole(0, 1),
}

_TOKEN_TEXT = Rule("a text", lambda v: isinstance(v, str) and 0 < len(v) <= 100)
_WORD = _either(
    _TOKEN_TEXT,
    Rule("an object with it as `content`", lambda v: isinstance(v, dict) and _content(v)),
)

#: Of a CLIPTokenizer.
TOKENIZER: dict[str, Rule] = {
    "bos_token": _WORD,
    "eos_token": _WORD,
    "unk_token": _WORD,
    "pad_token": _WORD,
    "model_max_length": _only(77),
}

#: Keys under which weights mean something else than their numbers.
_REFUSED = ("quantization_config",)


def read_json(file: Path, largest: int = _LARGEST) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UnsupportedModel: there is no such file, it is longer than `largest` bytes, or is not that.
    """
    try:
        if file.stat().st_size > largest:
            raise ValueError(f"more than {largest} bytes")
        said = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        found = f"{file}, {error}" if file.is_file() else f"none at {file}"
        raise UnsupportedModel("a JSON object of a model", found, _ADVICE) from error
    if not isinstance(said, dict):
        raise UnsupportedModel("a JSON object of a model", f"{file} with something else", _ADVICE)
    return said


def read_config(file: Path, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """What a configuration says under the keys that have a rule.

    Raises:
        UnsupportedModel: it cannot be read, lacks what is required, or a value is not allowed.
    """
    said = read_json(file)
    for key in _REFUSED:
        if said.get(key) is not None:
            raise UnsupportedModel(
                "weights that are plain numbers", f"{key} in {file}", "Use a model without it."
            )
    for key, rule in rules.items():
        if (key in said or rule.required) and not rule.allows(said.get(key)):
            found = _short(said[key]) if key in said else "nothing"
            raise UnsupportedModel(f"{rule.expected} for {key}", f"{found} in {file}", _ADVICE)
    return {key: said[key] for key in rules if key in said}


def check_noise(scheduler: Mapping[str, Any], file: Path) -> None:
    """Check that the noise of a scheduler's configuration grows, and leaves a signal.

    Beyond it every number of an image overflows. Betas as diffusers makes them of their schedule
    (arXiv:2006.11239, section 4; the square roots are spaced evenly in `scaled_linear`).

    Args:
        scheduler: of `read_config`, where what is left out is diffusers' default.
        file: for messages.

    Raises:
        UnsupportedModel: it does not.
    """
    first, last = scheduler.get("beta_start", 0.0001), scheduler.get("beta_end", 0.02)
    steps = scheduler.get("num_train_timesteps", 1000)
    kind = scheduler.get("beta_schedule", "linear")
    betas = scheduler.get("trained_betas")
    if betas is None and kind == "squaredcos_cap_v2":
        return
    if betas is None and first <= last:
        power = 2 if kind == "scaled_linear" else 1
        betas = np.linspace(first ** (1 / power), last ** (1 / power), steps) ** power
    if betas is None or np.log1p(-np.asarray(betas)).sum() < np.log(_SIGNAL):
        raise UnsupportedModel(
            f"noise that grows and leaves {_SIGNAL} of the signal",
            f"beta_start {first}, beta_end {last} and {steps} steps in {file}",
            _ADVICE,
        )


_ADVICE = "Fetch or copy the file again, or use another model."


def _content(value: dict[str, Any]) -> bool:
    return _TOKEN_TEXT.allows(value.get("content"))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
