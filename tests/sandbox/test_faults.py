"""Request faults: names, options and their queue."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async import InvalidRequestError
from aurpay_async.sandbox import Faults, Sandbox
from aurpay_async.sandbox._fault_responses import REQUEST_FAULTS, parse_fault

from .shop import call


def test_documentation_gives_each_request_fault_a_meaning_of_its_own() -> None:
    page = Path(__file__).parents[2] / "docs" / "sandbox.md"
    text = page.read_text(encoding="utf-8")
    row = r"^\| `([a-z0-9-]+)` \| (\S[^|]+) \| (never|always|with `\+created`) \|$"
    rows = re.findall(row, text, re.MULTILINE)
    assert [name for name, _, _ in rows] == [*REQUEST_FAULTS]
    assert len({meaning for _, meaning, _ in rows}) == 31
    served = {name for name, _, created in rows if created == "always"}
    assert served == {name for name, fault in REQUEST_FAULTS.items() if fault.serves}


def test_fault_is_parsed_with_name_options_and_created() -> None:
    fault = parse_fault(
        " 503 ; retry-after=Wed, 21 Oct 2026 07:28:00 GMT ; html=no+created"
    )
    assert fault.name == "503"
    assert fault.options["retry-after"] == "Wed, 21 Oct 2026 07:28:00 GMT"
    assert fault.options["html"] == "no"
    assert fault.serves
    assert not parse_fault("503").serves
    assert parse_fault("delay; seconds=0.5").seconds == 0.5
    assert parse_fault("delay").serves


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not a fault"),
        (503, "a fault is a str; got 503"),
        ("redirect; location=http://x\r\nX: y", "not a fault"),
        ("redirect; location=\ud800", "not a fault"),
        ("503" + "; html=no" * 30 + "!;", "not a fault"),
        ("Reset", "not a fault"),
        ("reset, 503", "not a fault"),
        ("resets", "there is no fault 'resets'"),
        ("101", "there is no fault '101'"),
        ("600", "there is no fault '600'"),
        ("reset+created", "reset unread creates nothing"),
        ("reset; seconds=1", "has no option 'seconds'; it has: none"),
        ("delay; second=1", "has no option 'second'; it has: seconds"),
        ("delay; seconds=soon", "seconds must be 0 to 3600"),
        ("delay; seconds=nan", "seconds must be 0 to 3600"),
        ("slow; seconds=-1", "seconds must be 0 to 3600"),
    ],
)
def test_invalid_request_fault_is_rejected_with_the_valid_names(
    text: Any, problem: str
) -> None:
    with pytest.raises(InvalidRequestError, match=problem) as caught:
        parse_fault(text)
    assert "close-before-headers" in str(caught.value)


@given(st.text(max_size=40))
def test_any_string_is_a_request_fault_or_rejected(text: str) -> None:
    try:
        parse_fault(text)
    except InvalidRequestError as error:
        assert error.field == "fault"


def test_faults_are_taken_first_in_first_out() -> None:
    faults = Faults()
    faults.push("reset", "503+created")
    with pytest.raises(InvalidRequestError):
        faults.push("429", "nonsense")
    assert list(faults) == ["reset", "503+created"]
    first = faults.take()
    assert first is not None
    assert (first.name, len(faults)) == ("reset", 1)
    faults.clear()
    assert faults.take() is None


async def test_request_faults_can_be_listed_added_and_removed_over_http() -> None:
    path = "/_sandbox/faults"
    async with Sandbox() as sandbox:
        two = ["503", "reset"]
        assert await call(sandbox, "POST", path, two) == (200, two)
        assert await call(sandbox, "GET", path) == (200, two)
        assert list(sandbox.faults) == two
        assert await call(sandbox, "DELETE", path) == (200, [])
        for wrong in (b'["nonsense"]', b"{}", b"no", b"[" * 9999, b"[503]"):
            status, answer = await call(sandbox, "POST", path, wrong)
            assert status == 400
            assert answer["error"].startswith("fault")
        assert (await call(sandbox, "PUT", path))[0] == 405
        assert len(sandbox.faults) == 0
        assert sandbox.requests == []


def test_a_queue_of_faults_shows_those_that_no_request_has_used() -> None:
    faults = Faults()
    faults.push("reset", "delay; seconds=2")
    assert repr(faults) == "Faults('reset', 'delay; seconds=2')"
