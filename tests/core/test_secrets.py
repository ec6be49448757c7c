"""A secret is never printed."""

from __future__ import annotations

import copy
import json
import pickle

import pytest

from aurpay_async._core.secrets import Secret

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
def test_a_secret_prints_as_asterisks(shown: str) -> None:
    assert CANARY not in shown


def test_reveal_returns_the_value_of_a_secret() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_a_secret_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(Secret(CANARY))


def test_a_secret_cannot_be_serialized_to_json() -> None:
    with pytest.raises(TypeError):
        json.dumps(Secret(CANARY))
    with pytest.raises(TypeError):
        "".join([Secret(CANARY)])  # type: ignore[list-item]


def test_the_copy_of_a_secret_is_the_same_object() -> None:
    secret = Secret(CANARY)
    assert copy.copy(secret) is copy.deepcopy([secret])[0] is secret
