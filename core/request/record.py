"""What an image was made from, as its file says it.

As JSON:

    {"version": 2, "request": …, "model": …, "inversions": …, "numerics": …, "identity": …}

`request` holds the fields of `ImageRequest` that matter, and those that were set; an input image by
name and SHA-256 of its pixels. `model` has its name, its SHA-256, and where anything was changed
that of its `files` alone, and what was changed: `vae`, `loras` (names, SHA-256) and `noise`; and
the program that it was run `through`, if that was another, with what is `unpromised` there.
`inversions` are those that the prompts called, `numerics` is of `numerics.fingerprint`, `identity`
of `identity.identity`; `refined_from` is the identity of the image whose prompt was refined.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from ..errors import InvalidImage, InvalidRequest
from ..wording import brief
from .fields import from_plain, to_plain
from .image_request import SizedRequest
from .kinds import Number, Whole, digest, named
from .named import Named

VERSION = 2

#: Key of our own record among the texts of a file.
KEY = "batch_sdxl"

_WEIGHT = Number(-1000, 1000)
#: Rows of one UNet call, and pixels of a side of a VAE's tile.
ROWS, TILE = Whole(2, 256, 2), Whole(128, 16384, 64)
_THREADS = Whole(1, 4096)
_DTYPES = ("float32", "float16", "bfloat16")
#: Most entries of a list or an object.
_MOST = 100


@dataclass(frozen=True)
class NamedLora(Named):
    """A LoRA as it was applied.

    Attributes:
        weight: factor of its changes to the UNet.
        text_weight: factor of its changes to the text encoders.
    """

    weight: float
    text_weight: float


@dataclass(frozen=True, kw_only=True)
class MadeWith:
    """The model that made an image.

    Attributes:
        name: of it, for people and to look for it.
        digest: SHA-256 of all that it is made of.
        files_digest: of its files alone, by which other tools know it.
        vae: the VAE in place of its own, None for that.
        loras: that were applied, in the order of their digests.
        noise: `prediction_type` and `zero_terminal_snr` where they were set.
        through: the program that ran it, empty for none but this; only there can it be had again.
        unpromised: what took part by which an image may depend on more than its request.
    """

    name: str
    digest: str
    files_digest: str
    vae: Named | None = None
    loras: tuple[NamedLora, ...] = ()
    noise: Mapping[str, str | bool] = field(default_factory=dict)
    through: str = ""
    unpromised: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """What an image was made from.

    Attributes:
        request: an input image is known by its name and digest.
        model: that made it.
        numerics: of `numerics.fingerprint`.
        identity: of `identity.identity`.
        inversions: textual inversions that its prompts called: name -> SHA-256.
        refined_from: identity of the image whose prompt was refined; empty for none.
    """

    request: SizedRequest
    model: MadeWith
    numerics: Mapping[str, Any]
    identity: str
    inversions: Mapping[str, str] = field(default_factory=dict)
    refined_from: str = ""

    def to_plain(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        plain = {"version": VERSION, "request": to_plain(self.request)}
        plain["model"] = _plain_model(self.model)
        if self.inversions:
            plain["inversions"] = dict(self.inversions)
        plain |= {"numerics": dict(self.numerics), "identity": self.identity}
        return plain | ({"refined_from": self.refined_from} if self.refined_from else {})

    def to_json(self) -> str:
        """One line of JSON in ASCII."""
        return json.dumps(self.to_plain())

    @classmethod
    def from_json(cls, text: str, where: object) -> Record:
        """The record that `to_json` wrote.

        Args:
            text: anything.
            where: it was found, for messages.

        Raises:
            InvalidImage: it is anything else, or holds a value that it cannot have.
        """
        expected = f"a {KEY} record of version {VERSION}"
        action = "Give a file as Save Image Batch wrote it."
        try:
            plain = json.loads(text, parse_constant=_no_number)
        except (ValueError, RecursionError):
            raise InvalidImage(expected, f"{brief(text)} in {where}", action) from None
        version = plain.get("version") if isinstance(plain, dict) else None
        if version != VERSION:
            got = "one without a version" if version is None else f"one of {brief(version)}"
            raise InvalidImage(expected, f"{got} in {where}", action)
        try:
            return _record(plain)
        except InvalidRequest as error:
            raise InvalidImage(
                f"{expected} with {error.expected}", f"{error.got} in that of {where}", action
            ) from error


def _plain_model(model: MadeWith) -> dict[str, Any]:
    plain: dict[str, Any] = {"name": model.name, "sha256": model.digest}
    if model.files_digest != model.digest:
        plain["files"] = model.files_digest
    if model.vae is not None:
        plain["vae"] = {"name": model.vae.name, "sha256": model.vae.digest}
    if model.through:
        plain["through"] = model.through
    if model.unpromised:
        plain["unpromised"] = list(model.unpromised)
    if model.noise:
        plain["noise"] = dict(model.noise)
    if model.loras:
        plain["loras"] = [
            {
                "name": lora.name,
                "sha256": lora.digest,
                "weight": lora.weight,
                "text_weight": lora.text_weight,
            }
            for lora in model.loras
        ]
    return plain


def _record(value: object) -> Record:
    plain = _object(
        "a record",
        value,
        required=("version", "request", "model", "numerics", "identity"),
        optional=("inversions", "refined_from"),
    )
    request = plain["request"]
    if not isinstance(request, dict):
        _refuse("a request", brief(request))
    return Record(
        request=from_plain(SizedRequest, request),
        model=_model(plain["model"]),
        numerics=_numerics(plain["numerics"]),
        identity=digest("an identity", plain["identity"]),
        inversions=_inversions(plain.get("inversions", {})),
        refined_from=(
            digest("a refined_from", plain["refined_from"]) if "refined_from" in plain else ""
        ),
    )


def _model(value: object) -> MadeWith:
    optional = ("files", "vae", "noise", "loras", "through", "unpromised")
    plain = _object("a model", value, ("name", "sha256"), optional)
    known = digest("the sha256 of a model", plain["sha256"])
    loras = plain.get("loras", [])
    if not isinstance(loras, list) or len(loras) > _MOST:
        _refuse(f"a list of at most {_MOST} loras", brief(loras))
    return MadeWith(
        name=_name("the name of a model", plain["name"]),
        digest=known,
        files_digest=digest("the files of a model", plain["files"]) if "files" in plain else known,
        vae=_file("a vae", plain["vae"]) if "vae" in plain else None,
        loras=tuple(_lora(lora) for lora in loras),
        noise=_noise(plain.get("noise", {})),
        through=_name("the program that ran a model", plain.get("through", "")),
        unpromised=tuple(_texts("unpromised", plain.get("unpromised", []))),
    )


def _lora(value: object) -> NamedLora:
    plain = _object("a LoRA", value, ("name", "sha256", "weight", "text_weight"))
    weights = [_WEIGHT.check(f"a {key}", plain.pop(key), "") for key in ("weight", "text_weight")]
    file = _file("a LoRA", plain)
    return NamedLora(file.name, file.digest, *weights)


def _texts(called: str, value: object) -> list[str]:
    if not isinstance(value, list) or len(value) > _MOST:
        _refuse(f"a list of at most {_MOST} {called}", brief(value))
    if not all(isinstance(one, str) and len(one) <= 1000 for one in value):
        _refuse(f"texts for {called}", brief(value))
    return value


def _noise(value: object) -> dict[str, str | bool]:
    plain = _object("noise", value, (), ("prediction_type", "zero_terminal_snr"))
    for name, kinds in (("prediction_type", str), ("zero_terminal_snr", bool)):
        if name in plain and not isinstance(plain[name], kinds):
            _refuse(f"a {name}", brief(plain[name]))
    return plain


def _inversions(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MOST:
        _refuse(f"at most {_MOST} inversions", brief(value))
    return {
        _name("the name of an inversion", name): digest("the sha256 of an inversion", sha256)
        for name, sha256 in value.items()
    }


def check_calls(rows: object, vae_tile: object) -> None:
    """Refuse shapes of calls that cannot be.

    Args:
        rows: of one UNet call.
        vae_tile: pixels of a side of a tile of the VAE; None for whole images.

    Raises:
        InvalidRequest: a number is out of its range.
    """
    ROWS.check("a number of rows per UNet call", rows, "8 suits most machines.")
    if vae_tile is not None:
        TILE.check("tiles of the VAE", vae_tile, "512 or 1024 suit most machines.")


def _numerics(value: object) -> dict[str, Any]:
    """Those that the engine is set by are checked; the others are words to compare."""
    if not isinstance(value, dict) or len(value) > _MOST:
        _refuse("numerics", brief(value))
    for name, one in value.items():
        fits = isinstance(one, str | int | None) or (isinstance(one, float) and math.isfinite(one))
        if not fits or len(brief(one)) > 100 or len(name) > 100:
            _refuse("numerics in plain values", f"{brief(one)} for {brief(name)}")
    if value.get("dtype") not in _DTYPES:
        _refuse(f"a dtype, one of {', '.join(_DTYPES)}", brief(value.get("dtype")))
    ROWS.check("rows of one UNet call", value.get("rows"), "")
    if "vae_tile" in value:
        TILE.check("a vae_tile", value["vae_tile"], "")
    if value.get("threads") is not None:
        _THREADS.check("a number of threads", value["threads"], "")
    return value


def _object(
    called: str, value: object, required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    if not isinstance(value, dict) or not (set(required) <= value.keys() <= {*required, *optional}):
        also = f" and maybe {', '.join(optional)}" if optional else ""
        _refuse(f"{called} with {', '.join(required) or 'nothing'}{also}", brief(value))
    return dict(value)


def _file(called: str, value: object) -> Named:
    known = named(called, value)
    return Named(_name(f"the name of {called}", known.name), known.digest)


def _name(called: str, value: object) -> str:
    """The name of a file that was there: one that a system can be asked for."""
    if not isinstance(value, str) or len(value) > 1000 or "\0" in value:
        _refuse(called, brief(value))
    parts = value.replace("\\", "/").split("/")
    if any(len(part.encode("utf-8", "replace")) > 255 for part in parts):
        _refuse(called, brief(value))
    return value


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number")


def _refuse(expected: str, got: str) -> NoReturn:
    raise InvalidRequest(expected, got, "Leave it as it was.")
