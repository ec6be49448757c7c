"""Output of commands on a terminal, in a pipe and as JSON."""

from __future__ import annotations

import io
import json
import re
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aurpay_async._cli._output import (
    Output,
    Row,
    amount,
    countdown,
    moment,
    redacted,
    span,
    to_json,
    until,
    when,
)
from aurpay_async._core.urls import escape_control
from aurpay_async.bolt11._qr import make_code

if TYPE_CHECKING:
    from aurpay_async._cli._output import OutputFormat

FORMATS: Final[tuple[OutputFormat, ...]] = ("json", "text")
NASTY = "a\x1b[31m\x9b2J\u202eb\r\n\u2028\x00\ud800\x7f"


def test_printable_text_is_not_escaped() -> None:
    assert (
        escape_control("Käse 1,50 € – 日本 שלום \\n") == "Käse 1,50 € – 日本 שלום \\n"
    )


def test_unprintable_characters_are_escaped() -> None:
    assert escape_control(NASTY) == (r"a\x1b[31m\x9b2J\u202eb\r\n\u2028\x00\ud800\x7f")


@given(st.text())
def test_any_text_is_printable_after_escaping(text: str) -> None:
    assert escape_control(text).isprintable()
    line = to_json({"text": text})
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


def test_secrets_are_replaced_by_stars() -> None:
    assert redacted("x-sesame-open-y, t", ["sesame-open", "t"]) == "x-**********-y, t"


def test_every_output_method_escapes_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = Output("text")
    evil = "\x1b]0;evil\x07[bold]x[/bold] :smile:"
    output.title(evil)
    output.line(evil)
    output.status(evil)
    output.rows([Row(evil, evil, "problem")])
    output.info(evil)
    output.cells([(evil, 4)])
    output.question(evil, [Row(evil, evil)], evil)
    output.error(evil, [Row(evil, evil)])
    with output.waiting(evil) as say:
        say(evil)
    shown = "".join(capsys.readouterr())
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert shown.count(r"\x1b]0;evil\x07[bold]x[/bold] :smile:") >= 14


def test_terminal_gets_colours_and_a_spinner_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = Output("text")
    with output.waiting("Asking") as say:
        say("29:59 left")
    output.status("done")
    out, err = capsys.readouterr()
    assert "29:59 left" in err
    assert "\x1b[1;32m" in out
    assert "left" not in out


def test_pipe_gets_answers_while_the_spinner_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    for output_format in FORMATS:
        output = Output(output_format)
        with output.waiting("Asking"):
            output.json("thing", a="1")
            output.status("done", "")
        out, err = capsys.readouterr()
        assert (
            out
            == ('{"type": "thing", "a": "1"}\n', "    done\n")[output_format == "text"]
        )
        assert "Asking" in err
        assert "thing" not in err


def test_answers_on_the_terminal_go_through_the_spinners_console(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    for output_format in FORMATS:
        output = Output(output_format)
        with output.waiting("Asking"):
            output.json("thing", a="1")
            output.status("thing", "")
        out, err = capsys.readouterr()
        assert out == ""
        assert re.search(r"\r\x1b\[2K[^\r]*thing[^\r]*\n[^\n]*Asking", err)
        output.json("thing", a="1")
        output.status("thing", "")
        assert "thing" in capsys.readouterr().out


def test_table_columns_have_at_least_their_width(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output("text")
    output.cells([("a", 4), ("b", 2), ("", 3)])
    output.cells([("\x1b", 4), ("too long", 2), ("c", 3)])
    assert capsys.readouterr().out == "  a     b\n  \\x1b  too long  c\n"


def test_pipe_gets_no_spinner_and_no_line_breaks(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output("text")
    with output.waiting("Asking") as say:
        say("29:59 left")
    output.line("x" * 500)
    assert capsys.readouterr() == ("x" * 500 + "\n", "")


def test_no_color_variable_removes_colours(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    Output("text").status("done")
    assert "32m" not in capsys.readouterr().out


def stream(encoding: str) -> io.TextIOWrapper:
    """Return a stream that is set up as `main` sets up standard output."""
    return io.TextIOWrapper(io.BytesIO(), encoding, errors="replace")


def written(out: io.TextIOWrapper) -> str:
    out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue().decode(out.encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "latin-1"])
def test_encoding_without_marks_gets_words(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr("sys.stdout", stream(encoding))
    monkeypatch.setattr("sys.stderr", stream(encoding))
    output = Output("text")
    output.status("paid")
    output.status("unpaid", "problem")
    output.status("late", "warning")
    output.rows([Row("a", "1", "ok"), Row("bc", "2")])
    output.error("failed", [Row("do", "wait")])
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
def test_unscannable_qr_code_is_replaced_by_the_reason(
    monkeypatch: pytest.MonkeyPatch,
    encoding: str,
    environment: dict[str, str],
    reason: str,
) -> None:
    """Without colours, it would be inverted on a light terminal."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", stream(encoding))
    Output("text").qr_code("LIGHTNING:LNBC1")
    assert written(sys.stdout) == f"  no QR code here: {reason}\n\n"  # type: ignore[arg-type]


def test_text_that_is_too_long_for_a_qr_code_is_named_as_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", stream("utf-8"))
    Output("text").qr_code("lightning:", "LNBC1" * 1000)
    shown = "  no QR code here: it would be too long for one; copy the text above\n\n"
    assert written(sys.stdout) == shown  # type: ignore[arg-type]


def test_qr_code_that_a_narrow_terminal_would_wrap_is_not_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    for columns, drawn in (("26", False), ("27", True)):
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setattr("sys.stdout", stream("utf-8"))
        Output("text").qr_code("LIGHTNING:LNBC1")
        text = written(sys.stdout)  # type: ignore[arg-type]
        assert ("▀" in text) is drawn
        assert ("it needs a terminal of 27 columns" in text) is not drawn


def test_qr_code_characters_match_its_modules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", stream("utf-8"))
    segments = ("lightning:", "LNBCRT1" * 40)
    Output("text").qr_code(*segments)
    plain_text = re.sub(r"\x1b\[[0-9;]*m", "", written(sys.stdout))  # type: ignore[arg-type]
    upper = {"█": 0, "▀": 0, "▄": 1, " ": 1}
    lower = {"█": 0, "▄": 0, "▀": 1, " ": 1}
    seen = [
        [table[char] for char in line[2:]]
        for line in plain_text.splitlines()[:-1]
        for table in (upper, lower)
    ]
    expected = [list(row) for row in make_code(*segments).matrix_iter(border=2)]
    assert seen[: len(expected)] == expected


@pytest.mark.parametrize("encoding", ["utf-8", "cp437"])
def test_qr_code_sets_both_colours(
    monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", stream(encoding))
    Output("text").qr_code("LIGHTNING:LNBC1")
    lines = written(sys.stdout).splitlines()[:-1]  # type: ignore[arg-type]
    assert len(lines) > 10
    for line in lines:
        assert line.startswith("  \x1b[37;40m")


def test_json_output_has_no_text_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output("json")
    output.title("x")
    output.rows([Row("x", "y")])
    output.qr_code("x")
    output.error("x", [])
    output.info("opened")
    output.json("thing", a="1")
    out, err = capsys.readouterr()
    assert (json.loads(out), err) == ({"type": "thing", "a": "1"}, "opened\n")


def test_text_output_has_no_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output("text").json("thing", a="1")
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
def test_span_uses_the_largest_unit_that_counts_two(seconds: int, shown: str) -> None:
    assert span(seconds) == shown


def test_a_time_is_followed_by_its_distance_in_the_past_or_future() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later, earlier = now + timedelta(hours=3), now - timedelta(minutes=3)
    assert when(later, now) == "2026-01-01 03:00:00 UTC (in 3 hours)"
    assert when(earlier, now) == "2025-12-31 23:57:00 UTC (3 minutes ago)"
    assert until(later, now) == "2026-01-01 03:00:00 UTC (3 hours left)"
    assert until(earlier, now) == "2025-12-31 23:57:00 UTC (3 minutes ago)"
    assert moment(now) == "2026-01-01 00:00:00 UTC"
    assert moment(None) == "unknown"


def test_countdown_never_goes_below_zero() -> None:
    assert [countdown(s) for s in (1799.9, 61, 0, -5)] == [
        "29:59",
        "1:01",
        "0:00",
        "0:00",
    ]


def test_amounts_are_exact_to_the_millisatoshi() -> None:
    assert amount(20_000_000) == "0.0002 BTC (20,000 sat)"
    assert amount(1) == "0.00000000001 BTC (1 msat)"
    assert amount(2_100_000_000_000_000_000) == (
        "21000000 BTC (2,100,000,000,000,000 sat)"
    )
