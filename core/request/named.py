"""What is known by its name and its content, without being here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Named:
    """A picture or a file as a record holds it.

    Attributes:
        name: of the file, for people and to look for it.
        digest: SHA-256 of its content (of a picture, of its pixels), in hexadecimal.
    """

    name: str
    digest: str
