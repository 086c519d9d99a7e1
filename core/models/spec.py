"""How to get a model, in plain values that can be saved, compared and sent to another process."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import InvalidRequest, ModelNotFound

#: The name of the model that comes with the pack, and where it lies.
DEMO = "demo"
DEMO_FOLDER = Path(__file__).resolve().parents[2] / "demo_model"

#: Words for the precisions that a model may run in -> torch's.
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}

#: What the UNet's output is taken for.
PREDICTION_TYPES = ("epsilon", "v_prediction")


@dataclass(frozen=True)
class LoraSpec:
    """A LoRA to apply.

    Attributes:
        path: of its .safetensors file.
        weight: finite factor of its changes to the UNet; may be negative.
        text_weight: of those to the text encoders; None for the same.
        skip_unknown: leave out what of the file cannot be applied, instead of refusing the file.
    """

    path: str
    weight: float = 1.0
    text_weight: float | None = None
    skip_unknown: bool = False

    def __post_init__(self) -> None:
        """Check all of it.

        Raises:
            InvalidRequest: a weight is not a finite number, or skip_unknown no truth value.
        """
        object.__setattr__(self, "path", _text("the path of a LoRA", self.path))
        if not isinstance(self.skip_unknown, bool):
            raise _refusal("true or false for skip_unknown", repr(self.skip_unknown))
        given = [self.weight] if self.text_weight is None else [self.weight, self.text_weight]
        if not all(map(_is_finite, given)):
            raise InvalidRequest(
                "finite weights of a LoRA", " and ".join(map(repr, given)), "0.5 to 1 is common."
            )

    def check_file(self) -> None:
        """Check that there is one.

        Raises:
            ModelNotFound: there is none.
        """
        if not Path(self.path).is_file():
            raise ModelNotFound("a LoRA, a .safetensors file", self.path, "Check the name.")


@dataclass(frozen=True)
class ModelSpec:
    """Everything that says which model to load, and how.

    The words are those of `load_model`. Paths may be given as such, and embeddings and LoRAs in any
    collection: they are kept as texts and tuples, so that a spec can be hashed and compared.

    Attributes:
        model: `demo`; a .safetensors file or a diffusers folder; or a name on the Hugging Face hub.
        dtype: `fp32`, `fp16`, `bf16`, or `auto`, which depends on the device.
        device: as torch calls it, such as `cuda:1`; None for CUDA where there is one, else the CPU.
        vae: file or folder of a VAE in place of the model's own; None for that.
        loras: to apply; their order makes no difference.
        prediction_type: `epsilon` or `v_prediction`; None for what the model says of itself.
        zero_terminal_snr: whether its noise reaches a signal of zero; None as prediction_type.
        offload: whether to keep the parts on the CPU, but for the one at work.
        embeddings: names of textual inversions, sorted, each with the path of its file.
        tokenizer_folders: where else to look for CLIP's tokenizer if a file has none beside it.
        compiled: whether torch compiles the UNet, once for each shape of its calls. Not with
            offload, since weights then move in the middle of what would be one graph.
    """

    model: str = DEMO
    dtype: str = "auto"
    device: str | None = None
    vae: str | None = None
    loras: tuple[LoraSpec, ...] = ()
    prediction_type: str | None = None
    zero_terminal_snr: bool | None = None
    offload: bool = False
    embeddings: tuple[tuple[str, str], ...] = ()
    tokenizer_folders: tuple[str, ...] = ()
    compiled: bool = False

    def __post_init__(self) -> None:
        """Check all of it, and bring it to its one form.

        Raises:
            InvalidRequest: a value is not of its kind, or two do not go together.
        """
        for name, form in _FORMS.items():
            object.__setattr__(self, name, form(getattr(self, name)))
        if self.compiled and self.offload:
            raise InvalidRequest(
                "a model that is compiled or offloaded", "both", "Turn one of them off."
            )

    def to_json(self) -> str:
        """All of it as JSON, an object of the attributes."""
        return json.dumps(asdict(self) | {"embeddings": dict(self.embeddings)})

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """What `to_json` wrote; attributes that are left out have their defaults.

        Raises:
            InvalidRequest: it is not that.
        """
        try:
            said = json.loads(text)
        except (ValueError, TypeError, RecursionError) as error:
            raise _refusal("the JSON of a model's spec", f"none ({error})") from error
        if isinstance(said, dict) and isinstance(said.get("loras"), list):
            said["loras"] = [_built(LoraSpec, lora) for lora in said["loras"]]
        built: ModelSpec = _built(cls, said)
        return built


def _built(kind: type[Any], said: object) -> Any:
    known = [field.name for field in fields(kind)]
    if not isinstance(said, dict) or not said.keys() <= {*known}:
        found = sorted(said.keys() - {*known}) if isinstance(said, dict) else said
        raise _refusal(f"an object with the keys {', '.join(known)}", repr(found))
    try:
        return kind(**said)
    except TypeError as error:  # the path of a LoRA is left out
        raise _refusal(f"an object with the keys {', '.join(known)}", str(error)) from error


def _text(what: str, value: object) -> str:
    text = str(value) if isinstance(value, Path) else value
    if not isinstance(text, str) or not text or "\0" in text:
        raise _refusal(what, repr(value))
    return text


def _texts(what: str, value: object) -> tuple[str, ...]:
    return tuple(_text(what, one) for one in _each(what, value))


def _each(what: str, value: object) -> Iterable[Any]:
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        raise _refusal(f"{what} in a list", repr(value))
    return value


def _embeddings(value: object) -> tuple[tuple[str, str], ...]:
    what = "textual inversions, each a name and the path of its file"
    pairs = value.items() if isinstance(value, Mapping) else _each(what, value)
    try:
        named = {_text(what, name): _text(what, path) for name, path in pairs}
    except (TypeError, ValueError) as error:
        raise _refusal(what, repr(value)) from error
    return tuple(sorted(named.items()))


def _loras(value: object) -> tuple[LoraSpec, ...]:
    loras = tuple(_each("LoRAs", value))
    for lora in loras:
        if not isinstance(lora, LoraSpec):
            raise _refusal("LoRAs, each a LoraSpec", repr(lora))
    return loras


def _word(what: str, *words: str | bool | None) -> Callable[[object], Any]:
    """Takes one of these words and nothing that only equals it."""

    def form(value: object) -> Any:
        if not any(type(value) is type(word) and value == word for word in words):
            names = ", ".join(map(str, words))
            raise InvalidRequest(what, repr(value), f"Choose one of {names}.")
        return value

    return form


def _optional(what: str) -> Callable[[object], str | None]:
    return lambda value: None if value is None else _text(what, value)


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max  # an int may be larger than any float


def _refusal(expected: str, got: str) -> InvalidRequest:
    return InvalidRequest(expected, got, "See ModelSpec for what it takes.")


_FORMS: dict[str, Callable[[Any], Any]] = {
    "model": lambda value: _text("the name or path of a model", value),
    "dtype": _word("a dtype", "auto", *DTYPES),
    "device": _optional("a device as torch calls it"),
    "vae": _optional("the path of a VAE"),
    "loras": _loras,
    "prediction_type": _word("a prediction type", *PREDICTION_TYPES, None),
    "zero_terminal_snr": _word("whether there is zero terminal SNR", True, False, None),
    "offload": _word("whether to offload", True, False),
    "embeddings": _embeddings,
    "compiled": _word("whether to compile", True, False),
    "tokenizer_folders": lambda value: _texts("folders of tokenizers", value),
}
