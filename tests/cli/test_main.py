"""Entry point of the command: help, wrong usage, exit codes, interruption."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

import aurpay_async
from aurpay_async import _cli
from aurpay_async.bolt11 import Network
from aurpay_async.sandbox import Amounts

if TYPE_CHECKING:
    from .conftest import Run

ENVIRONMENT = {**os.environ, "COLUMNS": "100", "PYTHONWARNINGS": "error"}
COMMANDS = [
    "demo",
    "sandbox",
    "decode",
    "verify",
    "doctor",
    "order",
    "order create",
    "order show",
    "order list",
    "order find",
    "order refund",
    "payment",
    "payment create",
    "payment url",
    "tx",
    "tx list",
    "withdraw",
    "store",
    "store list",
    "store show",
    "store review",
    "store duplicates",
    "store reconcile",
    "store resolve",
    "store prune",
    "db",
    "db upgrade",
    "db current",
    "db check",
    "callback",
    "callback send",
    "callback listen",
]


def start(*arguments: str, **environment: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "aurpay_async", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**ENVIRONMENT, **environment},
    )


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], [], ["db", "-h"]])
def test_version_and_lists_of_commands_are_shown_without_loading_cyclopts(
    arguments: list[str],
) -> None:
    code = (
        f"import sys; from aurpay_async import _cli; _cli.run({arguments})\n"
        "assert not {'cyclopts', 'rich', 'aiohttp', 'asyncio'} & set(sys.modules)"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    is_version = arguments == ["--version"]
    assert shown.startswith(aurpay_async.__version__ if is_version else "Usage: aurpay")


@pytest.mark.parametrize(("encoding", "corner"), [("utf-8", "╭"), ("ascii", "+")])
def test_list_of_commands_fits_a_narrow_terminal_and_its_encoding(
    monkeypatch: pytest.MonkeyPatch, encoding: str, corner: str
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stdout = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", stdout)
    assert _cli.run(["order"]) == 0
    stdout.seek(0)
    lines = stdout.read().splitlines()
    [start] = [at for at, line in enumerate(lines) if " Commands " in line]
    assert lines[start].startswith(corner)
    assert {len(line) for line in lines[start:]} == {40}


@pytest.mark.parametrize("word", ["order-h", "order--help", "help", "ordr"])
def test_word_that_is_no_command_is_wrong_usage(aurpay: Run, word: str) -> None:
    done = aurpay(word)
    assert (done.code, done.out) == (2, "")
    assert f'Unknown command "{word}"' in done.err


def test_version_of_a_command_is_that_of_the_package(aurpay: Run) -> None:
    assert aurpay("demo", "--version").out.strip() == aurpay_async.__version__


@pytest.mark.slow
def test_building_the_commands_imports_no_slow_package() -> None:
    code = (
        "import sys; from aurpay_async import _cli; _cli.build_app()\n"
        "print(*{'aiohttp', 'cattrs', 'segno', 'rich.console'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "\n"


@pytest.mark.slow
def test_a_command_loads_slow_packages_only_if_it_needs_them() -> None:
    """`aurpay sandbox` answers requests before it loads rich, in a thread."""
    code = (
        "import sys; from aurpay_async import _cli\n"
        "_cli.run(['decode', 'no invoice', '--output', 'json'])\n"
        "import aurpay_async._cli.sandbox\n"
        "print(*{'rich.console', 'segno', 'cattrs', 'itsdangerous'} & set(sys.modules))"
    )
    shown = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert shown.splitlines()[1:] == [""]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(aurpay: Run, command: str) -> None:
    done = aurpay(*command.split(), "--help")
    assert (done.code, done.err) == (0, "")
    assert f"$ aurpay {command}" in done.out or "| aurpay " in done.out
    assert "\x1b" not in done.out


@pytest.mark.slow
def test_help_is_the_same_with_python_oo() -> None:
    """Some containers set PYTHONOPTIMIZE=2, which removes docstrings."""
    code = (
        "import sys; from aurpay_async import _cli\n"
        "for command in sys.argv[1:]:\n"
        "    try: _cli.run([*command.split(), '--help'])\n"
        "    except SystemExit: pass\n"
    )
    shown = [
        subprocess.check_output(
            [sys.executable, *flags, "-c", code, "", *COMMANDS],
            text=True,
            env={**ENVIRONMENT, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        for flags in ((), ("-OO",))
    ]
    assert shown[0] == shown[1]
    assert "Send it without asking." in shown[1]
    assert re.search(r"--install-completion +Install completion for", shown[1])
    for example in ("$ aurpay withdraw", "$ aurpay order refund"):
        assert example in shown[1]


def test_help_lists_the_commands_and_the_exit_codes(aurpay: Run) -> None:
    done = aurpay("--help")
    assert aurpay() == done
    for command in COMMANDS:
        assert re.search(rf"{command.split()[0]} +[A-Z]", done.out)
    assert "3 failed, and an order may" in done.out
    assert "money may have moved" in " ".join(done.out.split())


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["dance"], "dance"),
        (["decode"], "INVOICE"),
        (["decode", "--bad"], "there is no option --bad"),
        (["demo", "--outptu", "json"], "--outptu"),
        (["sandbox", "--port", "65536"], "65535"),
        (["sandbox", "--port", "x"], "x"),
        (["sandbox", "--callback-secret", "x"], "--callback-secret"),
        (["order", "find", "20", "USD"], "--sent-at"),
        (["payment", "create", "20", "USD", "--chain", "ETH"], "--coin"),
        (["withdraw"], "INVOICE"),
        (["callback", "send", "http://127.0.0.1/", "--paid", "--timeout"], "--timeout"),
    ],
)
def test_wrong_usage_ends_with_2_and_one_sentence(
    aurpay: Run, arguments: list[str], problem: str
) -> None:
    done = aurpay(*arguments)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err
    assert "--help" in done.err


@pytest.mark.parametrize(
    "asked", [["--output", "json"], ["--output=json"], ["-o", "json"]]
)
def test_wrong_usage_is_reported_as_json_on_request(
    aurpay: Run, asked: list[str]
) -> None:
    done = aurpay("demo", "--dance", *asked)
    assert (done.code, done.err) == (2, "")
    assert done.record["code"] == "usage"
    assert "--dance" in done.record["message"]


def test_choices_of_arguments_match_the_types_of_the_package() -> None:
    from aurpay_async._cli import _options

    assert _options.NetworkName == Network
    assert _options.AmountStyle == Amounts


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_installed_for_each_shell(
    aurpay: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    done = aurpay("--install-completion", "--shell", shell)
    assert done.code == 0
    scripts = [path for path in tmp_path.rglob("*aurpay*") if path.is_file()]
    assert any("doctor" in path.read_text(encoding="utf-8") for path in scripts)


@pytest.mark.parametrize("missing", ["cyclopts", "rich", "segno"])
def test_missing_extra_is_reported_with_the_install_command(
    aurpay: Run, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_commands(monkeypatch)
    for name in [*sys.modules]:
        if name.partition(".")[0] == missing:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    done = aurpay("demo")
    assert done.code == 2
    assert 'pip install "aurpay-async[cli]"' in done.err


def forget_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the command's modules, so that they are imported again."""
    _cli.build_app.cache_clear()
    for name in [*sys.modules]:
        if name.startswith("aurpay_async._cli."):
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(_cli, name.rpartition(".")[2], raising=False)


@pytest.mark.parametrize("missing", ["_errors", "sandbox"])
def test_other_missing_module_raises_its_own_error(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    forget_commands(monkeypatch)
    monkeypatch.setitem(sys.modules, f"aurpay_async._cli.{missing}", None)
    with pytest.raises(ModuleNotFoundError, match=missing):
        aurpay("demo")


def test_ctrl_c_during_import_ends_with_130(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Finder:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "aurpay_async._cli._errors":
                raise KeyboardInterrupt

    forget_commands(monkeypatch)
    monkeypatch.setattr(sys, "meta_path", [Finder, *sys.meta_path])
    assert aurpay("demo") == (130, "", "")


def test_main_exits_with_the_code_of_the_command(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["aurpay", "decode", "no invoice"])
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    with pytest.raises(SystemExit) as caught:
        _cli.main()
    assert caught.value.code == 1


@pytest.mark.slow
def test_ascii_terminal_gets_words_instead_of_marks() -> None:
    process = start("decode", "no invoice", PYTHONIOENCODING="ascii")
    out, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (1, b"")
    assert b"  FAILED it cannot be decoded" in out


@pytest.mark.slow
@pytest.mark.parametrize("output", ["text", "json"])
def test_closed_pipe_ends_the_command_quietly(output: str) -> None:
    process = start("decode", "no invoice", "--output", output)
    assert process.stdout is not None
    process.stdout.close()
    _, err = process.communicate(timeout=300)
    assert (process.returncode, err) == (1, b"")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        ("--version", 1, "cannot write the output: No space left on device\n"),
        ("db", 1, "cannot write the output: No space left on device\n"),
        ("decode x", 1, "  ✗ OSError: No space left on device\n    do  Fix the "),
        ("decode x -o json", 1, "  ✗ OSError: No space left on device\n    do  Fix"),
        ("decode -o json", 2, '  ✗ Command "decode" parameter '),
    ],
)
def test_output_that_cannot_be_written_is_one_failure_on_standard_error(
    words: str, code: int, problem: str
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aurpay_async", *words.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
            check=False,
        )
    assert done.returncode == code
    assert done.stderr.decode().startswith(problem)
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"No space") == (code == 1)


def test_list_of_commands_without_standard_output_ends_with_0(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["aurpay"])
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(SystemExit) as caught:
        _cli.main()
    assert caught.value.code == 0


@pytest.mark.slow
def test_ctrl_c_stops_the_sandbox_with_130_and_no_traceback() -> None:
    process, url = start_sandbox(PYTHONUNBUFFERED="1")
    assert url.startswith("http://127.0.0.1:")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out, err) == (130, b"", b"")


def start_sandbox(**environment: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a sandbox that Ctrl-C can stop, and return it with its base URL."""
    # A shell starts background jobs with SIGINT ignored, and children inherit that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = start("sandbox", "--output", "json", **environment)
    signal.signal(signal.SIGINT, before)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["base_url"]


@pytest.mark.slow
def test_full_pipe_does_not_stop_the_sandbox() -> None:
    fcntl = pytest.importorskip("fcntl")
    process, url = start_sandbox()
    fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, 8192)
    count, headers = 200, {"Content-Type": "application/json"}
    for _ in range(count):
        request = Request(f"{url}/api/bln/order", b"{}", headers)  # noqa: S310
        with urlopen(request, timeout=30) as response:  # noqa: S310 - loopback
            assert b"price must be a number" in response.read()
    assert process.stdout is not None
    lines = [json.loads(process.stdout.readline()) for _ in range(count)]
    assert {line["path"] for line in lines} == {"/api/bln/order"}
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=300)


def test_prompts_run_before_the_event_loop(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a loop runs, the first Ctrl-C does not end a prompt."""

    def give_up(_: object) -> str:
        with pytest.raises(RuntimeError, match="no running event loop"):
            asyncio.get_running_loop()
        raise KeyboardInterrupt

    class Terminal:
        isatty = staticmethod(lambda: True)
        buffer = SimpleNamespace(read=give_up)
        readline = staticmethod(lambda: give_up(None))

    monkeypatch.setattr("getpass.getpass", give_up)
    monkeypatch.setattr("tests.cli.conftest.TextIOWrapper", lambda *_: Terminal())
    for line in (
        "callback send http://127.0.0.1:9/",
        "sandbox --ask",
        "callback listen --forward-to http://127.0.0.1:9 --ask",
        "decode -",
        "verify - --amount 1",
    ):
        assert aurpay(*line.split()) == (130, "", "")


async def test_port_in_use_ends_with_1_and_no_traceback(
    aurpay: Run, sandbox: Any
) -> None:
    port = sandbox.base_url.rpartition(":")[2]
    done = await asyncio.to_thread(aurpay, "sandbox", "--port", port)
    assert (done.code, done.out) == (1, "")
    assert "address already in use" in done.err.lower()
    assert "Choose another port, or let --port 0 take a free one." in done.err
