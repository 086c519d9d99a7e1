"""Which image is which: ours by their records, those of other programs by what is told of them."""

from __future__ import annotations

from dataclasses import dataclass

from .named import Named
from .record import Record


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a person has told of an image, as an `ImageRequest` says it.

    Attributes:
        width: of the image in pixels.
        height: likewise.
        prompt: empty where none was told.
        negative_prompt: likewise.
        seed: None where none was told.
        picture: the name of it, and nothing else; None where none was told.
    """

    width: int
    height: int
    prompt: str = ""
    negative_prompt: str = ""
    seed: int | None = None
    picture: Named | None = None


@dataclass(frozen=True)
class ToldRow:
    """In place of a record, for an image that our engine did not make.

    Attributes:
        request: what is known of it.
        identity: none.
    """

    request: Told
    identity: str = ""


#: What goes along with an image.
Row = Record | ToldRow


def words_of(row: Row) -> str:
    """What a person knows an image by beside its seed: its prompt, else its name."""
    if isinstance(row, ToldRow) and not row.request.prompt and row.request.picture is not None:
        return row.request.picture.name
    return row.request.prompt
