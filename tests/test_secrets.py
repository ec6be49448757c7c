"""A secret does not show."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from aurpay_async._secrets import Secret

CANARY = "canary-5f3a"


@pytest.mark.parametrize(
    "shown",
    [
        str(Secret(CANARY)),
        repr(Secret(CANARY)),
        f"{Secret(CANARY)}",
        f"{Secret(CANARY):>20}",
        f"{Secret(CANARY)!r}",
        f"{Secret(CANARY)} {Secret(CANARY)!r}",
        repr([Secret(CANARY)]),
        repr({"key": Secret(CANARY)}),
        repr(vars(type(Secret(CANARY)))),
    ],
    ids=lambda text: text[:20],  # the last one has addresses in it
)
def test_printing_gives_stars(shown: str) -> None:
    """In every way that Python prints things."""
    assert CANARY not in shown


def test_it_gives_itself_back_when_asked() -> None:
    """By one method with a telling name."""
    assert Secret(CANARY).reveal() == CANARY


def test_it_is_not_pickled() -> None:
    """A queue or a cache is no place for it."""
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(CANARY))


def test_it_is_no_json() -> None:
    """Nor any other text."""
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))
    with pytest.raises(TypeError):
        "".join([Secret(CANARY)])  # type: ignore[list-item]


def test_a_copy_is_itself() -> None:
    """So that what holds it can be copied."""
    secret = Secret(CANARY)
    assert copy.copy(secret) is copy.deepcopy([secret])[0] is secret
