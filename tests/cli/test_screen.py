"""What reaches a terminal, a pipe and a program."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async._cli._plain import plain, redacted, to_json
from aurpay_async._cli._screen import Row, Screen
from aurpay_async._cli._times import amount, countdown, distance, moment, span

NASTY = "a\x1b[31m\x9b2J\u202eb\r\n\u2028\x00\ud800\x7f"


def test_what_is_visible_stays() -> None:
    """In every script, with blanks and signs."""
    assert plain("Käse 1,50 € – 日本 שלום \\n") == "Käse 1,50 € – 日本 שלום \\n"


def test_what_is_invisible_is_shown_as_its_escape() -> None:
    """Escape sequences, bidi, line breaks, halves of characters."""
    assert plain(NASTY) == (r"a\x1b[31m\x9b2J\u202eb\r\n\u2028\x00\ud800\x7f")


@given(st.text())
def test_no_text_reaches_a_terminal_as_more_than_characters(text: str) -> None:
    """Whatever it holds; and JSON holds it all the same."""
    assert plain(text).isprintable()
    line = to_json({"text": text})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


def test_secrets_are_taken_out() -> None:
    """Wherever they are repeated; a short one is no secret."""
    assert redacted("x-sesame-open-y, t", ["sesame-open", "t"]) == "x-**********-y, t"


def test_the_screen_escapes_whatever_it_is_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every way to say something, on a terminal with colours; markup is text."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = Screen("text")
    evil = "\x1b]0;evil\x07[bold]x[/bold] :smile:"
    screen.title(evil)
    screen.line(evil)
    screen.step(evil)
    screen.rows([Row(evil, evil, "problem")])
    screen.note(evil)
    screen.cells([(evil, 4)])
    screen.question(evil, [Row(evil, evil)], evil)
    screen.complain(evil, [Row(evil, evil)])
    with screen.waiting(evil) as say:
        say(evil)
    shown = "".join(capsys.readouterr())
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert shown.count(r"\x1b]0;evil\x07[bold]x[/bold] :smile:") >= 14


def test_a_terminal_has_colours_and_a_sign_of_life(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sign is on standard error, so that the answer is alone."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = Screen("text")
    with screen.waiting("Asking") as say:
        say("29:59 left")
    screen.step("done")
    out, err = capsys.readouterr()
    assert "29:59 left" in err
    assert "\x1b[1;32m" in out
    assert "left" not in out


def test_a_pipe_gets_its_answers_while_the_sign_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Standard error is a terminal, standard output goes to a program."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for output in ("json", "text"):
        screen = Screen(output)
        with screen.waiting("Asking"):
            screen.record("thing", a="1")
            screen.step("done", "")
        out, err = capsys.readouterr()
        assert out == ('{"type": "thing", "a": "1"}\n', "    done\n")[output == "text"]
        assert "Asking" in err
        assert "thing" not in err


def test_a_terminal_that_has_both_is_written_to_by_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shows the sign: it is moved away before an answer, and back behind it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for output in ("json", "text"):
        screen = Screen(output)
        with screen.waiting("Asking"):
            screen.record("thing", a="1")
            screen.step("thing", "")
        out, err = capsys.readouterr()
        assert out == ""
        assert re.search(r"\r\x1b\[2K[^\r]*thing[^\r]*\n[^\n]*Asking", err)
        screen.record("thing", a="1")
        screen.step("thing", "")
        assert "thing" in capsys.readouterr().out


def test_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns are as wide as they are to be, or as what is in them."""
    screen = Screen("text")
    screen.cells([("a", 4), ("b", 2), ("", 3)])
    screen.cells([("\x1b", 4), ("too long", 2), ("c", 3)])
    assert capsys.readouterr().out == "  a     b\n  \\x1b  too long  c\n"


def test_a_pipe_has_neither(capsys: pytest.CaptureFixture[str]) -> None:
    """And its lines are as long as they are."""
    screen = Screen("text")
    with screen.waiting("Asking") as say:
        say("29:59 left")
    screen.line("x" * 500)
    assert capsys.readouterr() == ("x" * 500 + "\n", "")


def test_no_color_is_respected(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, too: bold is left."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    Screen("text").step("done")
    assert "32m" not in capsys.readouterr().out


def test_programs_are_told_records_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing that is for people; notes go to standard error."""
    screen = Screen("json")
    screen.title("x")
    screen.rows([Row("x", "y")])
    screen.code("x")
    screen.complain("x", [])
    screen.note("opened")
    screen.record("thing", a="1")
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"type": "thing", "a": "1"}, "opened\n")


def test_people_are_told_no_records(capsys: pytest.CaptureFixture[str]) -> None:
    """Their lines say the same."""
    Screen("text").record("thing", a="1")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (7199, "119 minutes"),
        (7200, "2 hours"),
        (172_800, "2 days"),
        (10**9, "11,574 days"),
    ],
)
def test_how_long(seconds: int, shown: str) -> None:
    """In the largest unit of which there are two."""
    assert span(seconds) == shown


def test_how_far() -> None:
    """Before and after."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert distance(now + timedelta(hours=3), now) == "in 3 hours"
    assert distance(now - timedelta(minutes=3), now) == "3 minutes ago"
    assert moment(now) == "2026-01-01 00:00:00 UTC"
    assert moment(None) == "unknown"


def test_what_is_left() -> None:
    """Minutes and seconds, never less than none."""
    assert [countdown(s) for s in (1799.9, 61, 0, -5)] == [
        "29:59",
        "1:01",
        "0:00",
        "0:00",
    ]


def test_amounts_are_exact() -> None:
    """To the millisatoshi; in satoshi where these are whole."""
    assert amount(20_000_000) == "0.0002 BTC (20,000 sat)"
    assert amount(1) == "0.00000000001 BTC (1 msat)"
    assert amount(2_100_000_000_000_000_000) == (
        "21000000 BTC (2,100,000,000,000,000 sat)"
    )
