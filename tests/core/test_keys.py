"""Reference keys: one or several, and no short ones."""

from __future__ import annotations

import traceback
from typing import Any

import pytest

from aurpay_async import ConfigurationError
from aurpay_async._core.secrets import Secret, hide_keys, require_keys

CANARY = "canary-6e1b"
KEY = f"{CANARY}-reference-key"
OTHER_KEY = "another-reference-key"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (KEY, [KEY]),
        ([KEY], [KEY]),
        ((KEY, OTHER_KEY), [KEY, OTHER_KEY]),
        (iter([KEY, OTHER_KEY]), [KEY, OTHER_KEY]),
        (Secret(KEY), [KEY]),
        ([Secret(KEY), OTHER_KEY], [KEY, OTHER_KEY]),
        ("x" * 16, ["x" * 16]),
    ],
)
def test_one_or_several_keys_are_accepted_in_order(
    given: Any, expected: list[str]
) -> None:
    keys = hide_keys(given)
    assert keys is not None
    assert [key.reveal() for key in require_keys(keys)] == expected


def test_a_reference_key_is_optional() -> None:
    assert hide_keys(None) is None


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("", "16 characters or more; generate one with"),
        ("short", "16 characters or more"),
        (CANARY, "16 characters or more"),
        ([KEY, CANARY], "16 characters or more"),
        (f"{KEY}\n", "a line break"),
        (f"{KEY}\ud800", "invisible"),
        (KEY.encode(), "not int"),
        ([KEY.encode()], "not bytes"),
        (5, "not int"),
        ([None], "not NoneType"),
        ([], "is empty"),
    ],
)
def test_an_invalid_key_is_rejected_and_not_shown(given: Any, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^reference_key ") as caught:
        require_keys(hide_keys(given) or ())
    assert problem in str(caught.value)
    assert CANARY not in str(caught.value)


def test_a_rejected_key_is_not_in_a_traceback_with_locals() -> None:
    given = [f"{CANARY}\n"]
    try:
        require_keys(hide_keys(given.pop()) or ())
    except ConfigurationError as error:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if frame.f_code.co_filename != __file__:
                assert CANARY not in repr(frame.f_locals)
    else:
        pytest.fail("was accepted")
