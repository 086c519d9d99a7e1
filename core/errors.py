"""Every error a user can meet.

    BatchSDXLError
    ├── InvalidRequest      a setting of an image is out of range, or lists do not combine
    ├── InvalidPrompts      a prompt source holds no prompt, or one that cannot be used
    ├── InvalidSeeds        a seed expression cannot be read
    ├── InvalidImage        an input image or folder cannot be read or used
    │   └── NotOurs         an image file that says nothing of how we made it
    ├── ModelNotFound       no model of that name
    ├── UnsupportedModel    the files are there, but are not an SDXL model
    ├── InvalidWorkflow     a graph that cannot be run
    ├── FailedImage         an image came out as what are no numbers
    ├── OutputError         a finished image cannot be written
    ├── MissingPackage      a Python package is not there, or too old
    ├── NoWorkers           none of a cluster's workers can go on
    └── OutOfMemory         the device has not enough for the model or the images

All but the last five and ModelNotFound are also ValueErrors; OutOfMemory is also a MemoryError.
"""

from __future__ import annotations

from typing import NamedTuple


class BatchSDXLError(Exception):
    """What was expected, what came instead, and what to do about it.

    Attributes:
        expected: what the program needs, without a final period.
        got: what it was given, without a final period.
        action: what a person can do, as a sentence.
    """

    def __init__(self, expected: str, got: str, action: str) -> None:
        super().__init__(expected, got, action)
        self.expected = expected
        self.got = got
        self.action = action

    def __str__(self) -> str:
        """The three parts as one message."""
        return f"Expected {self.expected}, got {self.got}. {self.action}"


class InvalidRequest(BatchSDXLError, ValueError):
    """A setting of an image is out of range, or lists do not combine."""


class InvalidPrompts(BatchSDXLError, ValueError):
    """A prompt source holds no prompt, or one that cannot be used."""


class InvalidSeeds(BatchSDXLError, ValueError):
    """A seed expression cannot be read."""


class InvalidImage(BatchSDXLError, ValueError):
    """An input image or folder cannot be read or used."""


class NotOurs(InvalidImage):
    """An image file that says nothing of how we made it."""


class ModelNotFound(BatchSDXLError):
    """No model of that name."""


class UnsupportedModel(BatchSDXLError, ValueError):
    """The files are there, but are not an SDXL model."""


class InvalidWorkflow(BatchSDXLError, ValueError):
    """A graph that cannot be run."""


class FailedImage(BatchSDXLError):
    """An image came out as what are no numbers."""


class OutputError(BatchSDXLError):
    """A finished image cannot be written."""


class MissingPackage(BatchSDXLError):
    """A Python package is not there, or too old."""


class NoWorkers(BatchSDXLError):
    """None of a cluster's workers can go on."""


class Way(NamedTuple):
    """An input of a node that takes less memory.

    Attributes:
        name: of the input.
        value: of it.
        keeps_bits: whether images stay the same.
    """

    name: str
    value: bool | int
    keeps_bits: bool


class OutOfMemory(BatchSDXLError, MemoryError):
    """The device has not enough for the model or the images.

    Attributes:
        ways: that may help here, in the order to try them.
    """

    ways: tuple[Way, ...] = ()


# ComfyUI shows a person the full name of a class, in which our package is called by its path.
for _error in (BatchSDXLError, *BatchSDXLError.__subclasses__(), NotOurs):
    _error.__module__ = "batch_sdxl"
