"""What reaches a terminal, a pipe and a program."""

from __future__ import annotations

import io
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


def stream(encoding: str) -> io.TextIOWrapper:
    """As `main` sets standard output up: what cannot be encoded is a question mark."""
    return io.TextIOWrapper(io.BytesIO(), encoding, errors="replace")


def written(out: io.TextIOWrapper) -> str:
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue().decode(out.encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "latin-1"])
def test_an_encoding_without_signs_gets_words_in_their_place(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """Passed and failed would both be a question mark."""
    monkeypatch.setattr("sys.stdout", stream(encoding))
    monkeypatch.setattr("sys.stderr", stream(encoding))
    screen = Screen("text")
    screen.step("paid")
    screen.step("unpaid", "problem")
    screen.step("late", "warning")
    screen.rows([Row("a", "1", "ok"), Row("bc", "2")])
    screen.complain("failed", [Row("do", "wait")])
    assert written(sys.stdout) == (  # type: ignore[arg-type]
        "  ok     paid\n  FAILED unpaid\n  !      late\n"
        "  ok     a   1\n         bc  2\n\n"
    )
    assert written(sys.stderr) == (  # type: ignore[arg-type]
        "  FAILED failed\n         do  wait\n"
    )


@pytest.mark.parametrize(
    ("encoding", "environment", "reason"),
    [
        ("cp1252", {"FORCE_COLOR": "1"}, "the encoding cp1252 has no block characters"),
        ("ascii", {"FORCE_COLOR": "1"}, "the encoding ascii has no block characters"),
        ("utf-8", {}, "it needs a terminal with colours (NO_COLOR, TERM)"),
        (
            "utf-8",
            {"FORCE_COLOR": "1", "NO_COLOR": "1"},
            "it needs a terminal with colours (NO_COLOR, TERM)",
        ),
    ],
)
def test_a_qr_code_that_cannot_be_scanned_is_left_out_and_the_reason_said(
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    environment: dict[str, str],
    reason: str,
) -> None:
    """Without colours, it would be inverted on a light terminal."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", stream(encoding))
    Screen("text").code("LIGHTNING:LNBC1")
    assert written(sys.stdout) == f"  no QR code here: {reason}\n\n"  # type: ignore[arg-type]


def test_a_qr_code_is_read_back_from_its_characters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Module for module."""
    import segno

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", stream("utf-8"))
    text = f"LIGHTNING:{'LNBCRT1' * 40}"
    Screen("text").code(text)
    plain_text = re.sub(r"\x1b\[[0-9;]*m", "", written(sys.stdout))  # type: ignore[arg-type]
    upper = {"█": 0, "▀": 0, "▄": 1, " ": 1}
    lower = {"█": 0, "▄": 0, "▀": 1, " ": 1}
    seen = [
        [table[char] for char in line[2:]]
        for line in plain_text.splitlines()[:-1]
        for table in (upper, lower)
    ]
    code = segno.make(text, error="l", micro=False)
    expected = [list(row) for row in code.matrix_iter(border=2)]
    assert seen[: len(expected)] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_a_qr_code_has_both_of_its_colours(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    """So it is the same on a light and on a dark terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", stream(encoding))
    Screen("text").code("LIGHTNING:LNBC1")
    lines = written(sys.stdout).splitlines()[:-1]  # type: ignore[arg-type]
    assert len(lines) > 10
    for line in lines:
        assert line.startswith("  \x1b[37;40m")


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
