"""Python's collector while a program loads its modules."""

import gc
from collections.abc import Iterator

import pytest

from archiver.loading import loading


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """What a test has frozen counts again after it."""
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_loaded_is_not_looked_at_again() -> None:
    with loading():
        assert not gc.isenabled()
        loaded: list[list[int]] = [[]]

    assert gc.isenabled()
    assert not any(one is loaded for one in gc.get_objects())


def test_it_works_on_after_a_failure() -> None:
    with pytest.raises(ImportError), loading():
        raise ImportError

    assert gc.isenabled()


def test_who_has_none_gets_none() -> None:
    gc.disable()
    with loading():
        pass

    assert not gc.isenabled()
