"""The ``aurpay`` command: its entry point and the table of its subcommands.

The module of a subcommand is imported when that subcommand is run or explains itself,
so that ``aurpay --help`` and shell completion stay fast. The help texts are strings in
this table, because ``python -OO`` removes docstrings. They document the functions, too.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from io import TextIOWrapper
from itertools import pairwise, zip_longest
from shutil import get_terminal_size
from textwrap import fill, indent, wrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cyclopts import App

    from ._output import OutputFormat

#: The extras that install what a command needs, by the missing package.
_EXTRAS: Final = {
    **dict.fromkeys(("cyclopts", "rich", "segno"), "cli"),
    **dict.fromkeys(("sqlalchemy", "alembic"), "cli,sql"),
}

_MISSING: Final = """\
The aurpay command needs additional packages: pip install "aurpay-async[{}]"
"""

#: Exit codes; 0 is success, and 130 what a shell reports after Ctrl-C.
FAILED: Final = 1
USAGE: Final = 2
OUTCOME_UNKNOWN: Final = 3
_INTERRUPTED: Final = 130
_COMPLETION: Final = "Install completion for bash, zsh or fish."

#: Help of the options of ``aurpay`` itself.
_OPTIONS: Final = {
    "--help (-h)": "Display this message and exit.",
    "--install-completion": _COMPLETION,
    "--version": "Display application version.",
}

#: The least columns for the help of a command on a narrow terminal.
_MIN_COLUMNS: Final = 16
_ASCII: Final = str.maketrans("╭╮╰╯─│", "++++-|")

_GROUPS: Final = {
    "": """\
Accept Lightning payments through Aurpay, in a local sandbox or for real.

Exit codes: 0 success or yes; 1 failure or no; 2 wrong usage; 3 failed, and an order \
may exist or money may have moved; 130 interrupted.

$ aurpay demo
$ aurpay doctor
$ aurpay order create 20 USD --qr --watch
""",
    "order": """\
Create, show, list, find and refund orders, at Aurpay or in a sandbox.

$ aurpay order create 20 USD --qr --watch
$ aurpay order show 20240428125247009742
$ aurpay order list
""",
    "payment": """\
Create payments in coins other than Lightning.

$ aurpay payment create 20 USD --chain ETH --coin USDT-ERC20
$ aurpay payment url 20 USD --open
""",
    "tx": """\
List payments, refunds and withdrawals.

$ aurpay tx list
""",
    "store": """\
Show, review and reconcile the orders in the order store, the merchant's database.

The database is read from AURPAY_DATABASE, or given with --database.

$ aurpay store show cart-42
$ aurpay store review
""",
    "db": """\
Show, check and migrate the schema of the merchant's database.

The database is read from AURPAY_DATABASE, or given with --database.

$ aurpay db check
$ aurpay db upgrade
""",
    "callback": """\
Send or forward callbacks (webhooks) to a shop on this machine.

$ aurpay callback send 'http://127.0.0.1:8000/paid?id=32'
$ aurpay callback listen --forward-to http://127.0.0.1:8000
""",
}

#: Help of each command, by its words and the function that runs it.
_COMMANDS: Final = {
    ("demo", "sandbox:run_demo"): """\
Create, verify and pay an order on this machine, and process its callback.

Needs no account and no network, and moves no money.

$ aurpay demo
""",
    ("sandbox", "sandbox:serve_sandbox"): """\
Serve a local Aurpay sandbox on loopback until Ctrl-C.

Callbacks are signed with AURPAY_CALLBACK_TOKEN and AURPAY_CALLBACK_SECRET if they
are set, otherwise with made-up values. Keys that look live are rejected.

$ aurpay sandbox --port 8765
$ aurpay sandbox --db orders.db --speed 60
$ aurpay sandbox --seed 7 --start 2026-01-01T12:00:00Z --rate USD=65000
$ aurpay sandbox --auth-from-env --post-callbacks
""",
    ("decode", "invoices:decode_invoice"): """\
Decode an invoice, and check it against each rule of BOLT #11.

Ends with 1 if the invoice breaks a rule.

$ aurpay decode lnbc2500u1pvjluez...
$ wl-paste | aurpay decode -
""",
    ("verify", "invoices:verify_invoice"): """\
Verify an invoice with the checks of the client.

Ends with 1 if a check fails.

$ aurpay verify lnbc100u1... --amount 0.0001
$ aurpay verify - --amount-msat 10000000 --network regtest --payee 03e7156a...
""",
    ("doctor", "doctor:run_doctor"): """\
Diagnose the set-up, and suggest a fix for each problem.

The report contains no key, token or secret, so that it can be pasted into an issue.
The only server that is contacted is AURPAY_BASE_URL. Ends with 1 if there is a problem.

$ aurpay doctor
$ AURPAY_BASE_URL=http://127.0.0.1:8765 aurpay doctor
""",
    ("withdraw", "invoices:withdraw"): """\
Show a Lightning invoice, ask for confirmation, and pay it.

Moves money, and sends at most one request. The invoice is verified first. Without a
terminal to ask at, nothing is sent unless --yes is given. Ends with 3 if it failed and
the invoice may be paid all the same.

$ aurpay withdraw lnbc100u1...
$ aurpay withdraw lnbc100u1... --amount 0.0001
$ aurpay withdraw - --amount 0.0001 --yes < invoice.txt
""",
    ("order create", "orders:create_order"): """\
Create an order, and show it with its verified invoice.

The client is configured by the environment: AURPAY_API_KEY, or AURPAY_API_TOKEN and
AURPAY_API_SECRET; for a sandbox also AURPAY_BASE_URL and AURPAY_NETWORK. Ends with 3 if
it failed and an order may exist all the same.

$ aurpay order create 20 USD --qr --watch
$ aurpay order create 20 USD --callback-url https://shop.example/paid
""",
    ("order show", "orders:show_order_by_id"): """\
Show the status of an order.

$ aurpay order show 20240428125247009742
$ aurpay order show 20240428125247009742 --output json | jq -r .status
""",
    ("order list", "orders:list_orders"): """\
List orders.

$ aurpay order list
$ aurpay order list --all --output json | jq -r 'select(.is_paid).order_id'
""",
    ("order find", "orders:find_order"): """\
Find the order of a request with an unknown outcome.

Orders are compared by price, currency and time, so several may match. Ends with 1
unless exactly one matches.

$ aurpay order find 20 USD --sent-at 2026-01-31T12:00:00Z
""",
    ("order refund", "orders:refund_order"): """\
Show the refund of an order, ask for confirmation, and refund the order.

Moves money, and sends at most one request. Without a terminal to ask at, nothing is
sent unless --yes is given. Ends with 3 if it failed and the order may be refunded all
the same.

$ aurpay order refund 20240428125247009742
""",
    ("payment create", "orders:create_payment"): """\
Create an order in a coin that you choose, and show the address to pay to.

The client is configured by the environment, as for `aurpay order create`. Ends with 3
if it failed and an order may exist all the same.

$ aurpay payment create 20 USD --chain ETH --coin USDT-ERC20
$ aurpay payment create 20 USD --chain TRX --coin USDT-TRC20 --watch
""",
    ("payment url", "orders:create_payment_url"): """\
Get a checkout page on which the payer chooses the coin.

Aurpay creates the order when the payer has chosen a coin, and names it only in
callbacks: give a reference.

$ aurpay payment url 20 USD --open
$ aurpay payment url 20 USD --callback-url https://shop.example/paid
""",
    ("tx list", "orders:list_transactions"): """\
List payments, refunds and withdrawals.

$ aurpay tx list
$ aurpay tx list --all --output json | jq -r .tx_id
""",
    ("store list", "store:list_attempts"): """\
List attempts to create an order, newest first.

$ aurpay store list
$ aurpay store list --state unknown --limit 1000
""",
    ("store show", "store:show_reference"): """\
Show the history of a reference, and the commands to run next.

It has each attempt to create an order, its state and times, and the callback (webhook)
that your handler has handled. Changes nothing, and needs no API key. Ends with 1 if the
store has no such reference.

$ aurpay store show cart-42
$ aurpay store show 20240428125247009742
""",
    ("store review", "store:list_for_review"): """\
List the attempts that a person has to review, because they may be paid.

Ends with 1 if there are any, so that a job can raise an alarm.

$ aurpay store review
""",
    ("store duplicates", "store:list_duplicates"): """\
List the duplicate payments, and the commands that refund them.

Ends with 1 if there are any, so that a job can raise an alarm.

$ aurpay store duplicates
$ aurpay store duplicates --output json | jq -r .steps[].command
""",
    ("store reconcile", "store:reconcile_orders"): """\
Query Aurpay for payments with a lost callback (webhook).

Records nothing: what has changed is due at once, and the next run of your program
records and fulfils it. Safe to run twice. Ends with 1 if an order has changed or could
not be queried.

$ aurpay store reconcile cart-42
$ aurpay store reconcile --limit 1000
""",
    ("store resolve", "store:resolve_attempt"): """\
Show an attempt and an order, ask for confirmation, and assign the order to the attempt.

For an attempt of unknown outcome. If the order is paid, its reference counts as paid,
and no program learns of it: fulfil it by hand. With --no-order, record that the attempt
has created no order.

$ aurpay store resolve 5f3a1c5f3a1c5f3a1c5f3a1c 20240428125247009742
$ aurpay store resolve 5f3a1c5f3a1c5f3a1c5f3a1c --no-order
""",
    ("store prune", "store:prune_references"): """\
Delete old references, after a confirmation.

A reference with an open attempt stays. Paid references stay without --paid-older-than,
because they are what keeps a reference from being paid twice.

$ aurpay store prune
$ aurpay store prune --older-than 90 --paid-older-than 365 --yes
""",
    ("db upgrade", "database:upgrade_schema"): """\
Migrate the database to the newest schema.

Creates missing tables, and the file of a SQLite database. Safe to run twice, and on
several machines at once: one migrates, the others wait.

$ aurpay db upgrade
$ aurpay db upgrade --database sqlite+aiosqlite:///orders.db
""",
    ("db current", "database:show_schema"): """\
Show the version of the database's schema, and the newest one.

$ aurpay db current
""",
    ("db check", "database:check_schema"): """\
Check that no migration is pending, and that the tables are as this version needs them.

Changes nothing. Ends with 1 if a migration is pending or a table differs.

$ aurpay db check
""",
    ("callback send", "callbacks:send_callback"): """\
Send one signed callback (webhook) to a shop, and show the response.

Token and secret are read from AURPAY_CALLBACK_TOKEN and AURPAY_CALLBACK_SECRET, or
prompted for. Ends with 1 unless the shop answers 2xx.

$ aurpay callback send 'http://127.0.0.1:8000/paid?id=32'
$ aurpay callback send 'http://127.0.0.1:8000/paid?id=32' --stale
""",
    ("callback listen", "callbacks:listen_and_forward"): """\
Run a sandbox, forward its callbacks to a shop, and show them.

The shop creates its orders in this sandbox (AURPAY_BASE_URL), with callback URLs of
this listener. Its `public_base_url` is the listener's address, because the signature
covers the registered URL. Path, query, headers and body are forwarded unchanged. Runs
until Ctrl-C.

$ aurpay callback listen --forward-to http://127.0.0.1:8000 --port 9000
""",
}


def main() -> None:
    """Run the command that the arguments name, and end with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A character that the encoding lacks must not end the command with an error.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")
    code = 0
    try:
        code = run(sys.argv[1:])
        print(end="", flush=True)
    except OSError as error:
        # Python would report it again when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not (code or isinstance(error, BrokenPipeError)):
            sys.stderr.write(f"cannot write the output: {error.strerror}\n")
        code = code or FAILED
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    try:
        if arguments == ["--version"]:  # scripts ask for it; loading cyclopts is slow
            print(_version())
            return 0
        has_help = arguments[-1:] in (["--help"], ["-h"])
        group = " ".join(arguments[:-1] if has_help else arguments)
        if group in _GROUPS:
            _show_group(group)
            return 0
        from cyclopts import CycloptsError

        from ._errors import run_command, show_usage_error

        try:
            # Exit code and output of wrong usage must not depend on cyclopts' version.
            command, bound, _ = build_app().parse_args(
                arguments, print_error=False, exit_on_error=False
            )
        except CycloptsError as error:
            return show_usage_error(_output_format(arguments), str(error))
        except ImportError as error:
            # cyclopts wraps the error of a command's module, and omits the reason.
            raise (error.__cause__ or error) from None
        return run_command(command, bound)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except ModuleNotFoundError as error:
        extras = _EXTRAS.get((error.name or "").partition(".")[0])
        if extras is None:
            raise
        sys.stderr.write(_MISSING.format(extras))
        return USAGE


def _show_group(group: str) -> None:
    """Show the help of a group as cyclopts would, which takes much longer to load."""
    columns, prefix = get_terminal_size().columns, f"{group} ".lstrip()
    print("Usage: aurpay", f"{prefix}COMMAND\n")
    for paragraph in _GROUPS[group].split("\n\n"):
        if paragraph.startswith("$ "):
            print(indent(paragraph, " "), end="")
        else:
            print(fill(paragraph, columns), end="\n\n")
    texts = {words: text for (words, _), text in _COMMANDS.items()} | _GROUPS
    rows = {
        words.removeprefix(prefix): texts[words].partition("\n\n")[0]
        for words in sorted(texts)
        if words and words.rpartition(" ")[0] == group
    }
    _show_box(rows if group else rows | _OPTIONS, columns)


def _show_box(rows: Mapping[str, str], columns: int) -> None:
    width = max(map(len, rows))
    room = max(columns - width - 6, _MIN_COLUMNS)
    lines = [f"╭─ Commands {'─' * (width + room - 7)}╮"]
    for name, text in rows.items():
        for head, part in zip_longest([name], wrap(text, room), fillvalue=""):
            lines.append(f"│ {head:{width}}  {part:{room}} │")
    lines.append(f"╰{'─' * (width + room + 4)}╯")
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    has_boxes = encoding.lower().startswith("utf")
    print("\n".join(lines).translate({} if has_boxes else _ASCII))


@cache
def build_app() -> App:
    """Return the application with all commands, without importing their modules."""
    from cyclopts import App

    texts = {words: text for (words, _), text in _COMMANDS.items()} | _GROUPS
    # cyclopts reads Markdown, where examples are in a block of code.
    helps = {
        words: text.replace("\n\n$ ", "\n\n```console\n$ ") + "```\n"
        for words, text in texts.items()
    }
    app = App(name="aurpay", help=helps[""], version=_version)
    groups = {"": app}
    for name in filter(None, _GROUPS):
        groups[name] = App(name=name, help=helps[name])
        app.command(groups[name])
    for words, target in _COMMANDS:
        group, _, name = words.rpartition(" ")
        groups[group].command(
            f"{__name__}.{target}", name=name, help=helps[words], version=_version
        )
    app.register_install_completion_command(help=_COMPLETION)  # pyright: ignore[reportUnknownMemberType]
    return app


def _output_format(arguments: Sequence[str]) -> OutputFormat:
    """Return the output format that an invalid command line asks for."""
    words = " ".join(arguments).replace("=", " ").split()
    asked = {("--output", "json"), ("-o", "json")}
    return "json" if asked.intersection(pairwise(words)) else "text"


def _version() -> str:
    from importlib.metadata import version

    return version("aurpay-async")
