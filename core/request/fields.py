"""Fields of a request, each declared once: what it is, what others call it, when it counts.

A declaration is the metadata of a dataclass's field:

    clip_skip: int = field(default=0, metadata=declare(Whole(0, 30), unless=0, a1111="Clip skip"))

From it derive the checks, the identity, the plain values of a record and back, the columns of
prompt files, the words of other programs, and the table in docs/reproducibility.md. A field that is
not declared is taken for one that always counts, so that none can be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from typing import Any, TypeVar

from ..errors import InvalidRequest
from ..wording import brief, meant
from .kinds import Kind

R = TypeVar("R")

_KEY = "batch_sdxl"
_NOTHING: Any = object()
_declared: dict[type, tuple[Declaration, ...]] = {}


@dataclass(frozen=True)
class When:
    """When a field makes a difference.

    Attributes:
        says: in words, behind "if".
        holds: whether it does, of a request.
    """

    says: str
    holds: Callable[[Any], bool]


ALWAYS = When("", lambda request: True)


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What there is to know of a field.

    Attributes:
        kind: of its values. None is taken too where it is the default.
        called: in messages, with its article; empty for its name.
        advice: what to do about a value that is refused.
        pixels: whether any image depends on it.
        only: when it makes a difference.
        unless: the value that is as good as none.
        means: what counts of it, of a request, where several values make the same image.
        comfyui: ComfyUI's word, where it is another.
        a1111: the word of AUTOMATIC1111's web UI, empty where it has none.
        a1111_offset: how much more that counts.
        name: of the field.
        default: its value where none is given.
    """

    kind: Kind = field(default_factory=Kind)
    called: str = ""
    advice: str = ""
    pixels: bool = True
    only: When = ALWAYS
    unless: Any = _NOTHING
    means: Callable[[Any], Any] | None = None
    comfyui: str = ""
    a1111: str = ""
    a1111_offset: int = 0
    name: str = ""
    default: Any = _NOTHING

    @property
    def is_required(self) -> bool:
        """Whether plain values must hold it: nothing says what stands for it."""
        always = self.pixels and self.only is ALWAYS and self.unless is _NOTHING
        return always or self.default is _NOTHING

    def matters(self, request: object) -> bool:
        """Whether a request's image depends on it."""
        return (
            self.pixels and self.only.holds(request) and bool(self.counting(request) != self.unless)
        )

    def counting(self, request: object) -> Any:
        """What counts of it."""
        return self.means(request) if self.means else getattr(request, self.name)

    def check(self, value: Any) -> Any:
        """A value as a request keeps it; raises as `Kind.check`."""
        if value is None and self.default is None:
            return None
        return self.kind.check(self.called, value, self.advice)

    def from_plain(self, value: Any) -> Any:
        """A value of JSON as a request keeps it; raises as `Kind.check`."""
        if value is None and self.default is None:
            return None
        return self.kind.from_plain(self.called, value, self.advice)


def declare(kind: Kind, **said: Any) -> Mapping[str, Declaration]:
    """The metadata of a field: its kind, and what else `Declaration` can say of it."""
    return {_KEY: Declaration(kind=kind, **said)}


def declared(part: type) -> tuple[Declaration, ...]:
    """The declarations of all fields of a request's class, or of a part of one, in their order."""
    if part not in _declared:
        _declared[part] = tuple(_declaration(part, one) for one in fields(part))
    return _declared[part]


def _declaration(part: type, one: Field[Any]) -> Declaration:
    """The nearest one: a subclass may give a field another type and say no more of it."""
    own = (base.__dict__.get("__dataclass_fields__", {}).get(one.name) for base in part.__mro__)
    said = (near.metadata[_KEY] for near in own if near is not None and _KEY in near.metadata)
    known: Declaration = next(said, Declaration())
    default = _NOTHING if one.default is MISSING else one.default
    if one.default_factory is not MISSING:
        default = one.default_factory()
    called = known.called or f"a {one.name}"
    return replace(known, name=one.name, default=default, called=called)


def settle(request: object) -> None:
    """Check every field of a new request, and keep its values as they are to be kept.

    Raises:
        InvalidRequest: a value is none of its field's.
        InvalidImage: a picture cannot be used.
    """
    for one in declared(type(request)):
        value = getattr(request, one.name)
        kept = one.check(value)
        if kept is not value:
            object.__setattr__(request, one.name, kept)


def canonical(request: object) -> dict[str, Any]:
    """What a request's image depends on, in plain values: no field that makes no difference."""
    return {
        one.name: one.kind.to_identity(one.counting(request))
        for one in declared(type(request))
        if one.matters(request)
    }


def to_plain(request: object) -> dict[str, Any]:
    """All that was asked, in plain values: what matters, and what else is not as it is by default.

    `from_plain` makes an equal request of it, but for the pixels of pictures.
    """
    plain: dict[str, Any] = {}
    for one in declared(type(request)):
        value = getattr(request, one.name)
        if one.matters(request) or value != one.default:
            plain[one.name] = None if value is None else one.kind.to_plain(value)
    return plain


def from_plain(kind: type[R], values: Mapping[str, Any]) -> R:
    """A request of plain values, which may be anything that JSON can hold.

    Args:
        kind: class of the request.
        values: of `to_plain`.

    Raises:
        InvalidRequest: a field is missing, unknown, or has a value that it cannot have.
    """
    known = {one.name: one for one in declared(kind)}
    for name in values:
        if name not in known:
            raise InvalidRequest(
                f"fields of a request: {', '.join(known)}",
                brief(name),
                "Another version may know that field.",
            )
    for one in known.values():
        if one.is_required and one.name not in values:
            raise InvalidRequest(one.called, "none", f"Name {one.name}.")
    return kind(**{name: known[name].from_plain(value) for name, value in values.items()})


def from_texts(kind: type, texts: Mapping[str, str]) -> dict[str, Any]:
    """What a person typed for some fields, by the fields' names, to be checked by a request.

    Args:
        kind: class of the request.
        texts: by the name of a field, or ComfyUI's word for it.

    Raises:
        InvalidRequest: there is no such field, one is named by both its words, or its text cannot
            be read.
    """
    typed = [one for one in declared(kind) if one.kind.is_typed]
    known = {word: one for one in typed for word in (one.name, one.comfyui) if word}
    values = {}
    for name, text in texts.items():
        one = known.get(name)
        if one is None:
            raise InvalidRequest(
                f"a setting of an image: {', '.join(known)}",
                brief(name),
                meant(name, known) or "Write for example --set steps=30.",
            )
        if one.name in values:
            raise InvalidRequest(
                f"one value of {one.name}",
                f"{one.name} and {one.comfyui}, which are the same",
                "Leave one of them out.",
            )
        try:
            values[one.name] = one.kind.from_text(text)
        except ValueError:
            raise InvalidRequest(
                f"{one.called} {one.kind.range}", brief(text), "Write numbers in digits."
            ) from None
    return values
