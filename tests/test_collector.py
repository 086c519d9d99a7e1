"""Garbage is looked for after the libraries of models are there, not while they come."""

import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest
from batch_sdxl.core.collector import collecting_later
from batch_sdxl.core.errors import ModelNotFound
from batch_sdxl.core.models.load import load_model


@pytest.fixture(autouse=True)
def _enabled() -> Iterator[None]:
    yield
    gc.enable()


def test_it_is_off_within_the_block_and_on_after_it() -> None:
    with collecting_later():
        assert not gc.isenabled()
        with collecting_later():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_it_stays_off_for_a_program_that_turned_it_off() -> None:
    gc.disable()
    with collecting_later():
        pass
    assert not gc.isenabled()


def test_it_is_on_after_a_model_that_is_not_there() -> None:
    with pytest.raises(ModelNotFound):
        load_model("nowhere.safetensors")
    assert gc.isenabled()


def test_what_the_block_made_is_no_longer_young_and_can_still_be_found() -> None:
    class Circle:
        def __init__(self) -> None:
            self.itself = self

    with collecting_later():
        Circle()
    assert not any(type(one) is Circle for one in gc.get_objects(generation=0))
    assert any(type(one) is Circle for one in gc.get_objects(generation=2))
    gc.collect()
    assert not any(type(one) is Circle for one in gc.get_objects())


def test_nothing_is_looked_for_while_libraries_come() -> None:
    """Full searches while a model is loaded take a second and more."""
    code = """
import gc
from batch_sdxl.core import load_model
load_model
before = gc.get_stats()[2]["collections"]
load_model("demo")
assert gc.get_stats()[2]["collections"] == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)
