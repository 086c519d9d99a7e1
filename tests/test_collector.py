"""Garbage is looked for after the libraries of models are there, not while they come."""

import gc
from collections.abc import Iterator

import pytest
from batch_sdxl.core.collector import collecting_later
from batch_sdxl.core.errors import MissingPackage
from batch_sdxl.core.models import load


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


def test_what_a_program_froze_stays_frozen() -> None:
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        with collecting_later():
            pass
        assert gc.get_freeze_count() == before
    finally:
        gc.unfreeze()


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


def test_it_is_off_while_the_libraries_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches for garbage among what they bring take a second and more."""
    seen: list[bool] = []

    def check_packages() -> None:
        seen.append(gc.isenabled())
        raise MissingPackage("one", "none", "Install it.")

    monkeypatch.setattr(load, "check_packages", check_packages)
    with pytest.raises(MissingPackage):
        load.load_model("demo")
    assert seen == [False]
    assert gc.isenabled()
