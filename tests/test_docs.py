"""Tests of the README, the pages and their examples."""

from __future__ import annotations

import ast
import asyncio
import inspect
import io
import logging
import pkgutil
import re
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sybil import Sybil
from sybil.evaluators.python import pad
from sybil.parsers.markdown import CodeBlockParser

import aurpay_async
from aurpay_async import AurpayError, Timeouts, errors
from aurpay_async.callbacks import CallbackVerifier
from aurpay_async.pytest_plugin import REFERENCE_KEY
from aurpay_async.sandbox import Sandbox
from docs.pictures._architecture import LAYERS
from docs.pictures._drawings import DRAWINGS

from .support.aioresponses_compat import allow_aioresponses
from .support.loop_time import advance_loop
from .test_payments import PAID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sybil import Example

    from aurpay_async import AurpayClient
    from aurpay_async.testing import FakeClock

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "SUPPORT.md", *sorted(DOCS.rglob("*.md"))]
ORDERS = PAGES.index(DOCS / "orders.md")

#: The expected output of an example: the block after it.
PRINTED = re.compile(r"\n+```text\n(.*?)```\n", re.DOTALL)
#: The file name of an example that other examples import.
FILE = re.compile(r"# (\w+\.py)\n")
#: For `from_env()`; the address refuses connections.
ENVIRONMENT = {
    "AURPAY_API_KEY": "sandbox-key",
    "AURPAY_BASE_URL": "http://127.0.0.1:9",
    "AURPAY_CALLBACK_SECRET": "sandbox-callback-secret",
    "AURPAY_NETWORK": "regtest",
    "AURPAY_REFERENCE_KEY": "sandbox-reference-key",
}
#: The configuration of a shop; it names the plugins, because discovery is slow.
SETTINGS = """
[pytest]
addopts = -p pytest_asyncio.plugin -p aurpay_async.pytest_plugin
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:Using `httpx` with `starlette.testclient` is deprecated
    ignore:The anyio.abc.BlockingPortal alias is deprecated
"""
#: The plugin of pytest-asyncio, and that of anyio, which has to be loaded after it.
ASYNCIO, ANYIO = "-p pytest_asyncio.plugin", "-p anyio.pytest_plugin"
#: Public modules with classes, but for the adapters: docs/frameworks.md has a program
#: for each of them.
MODULES_WITH_CLASSES = (
    "aurpay_async",
    "aurpay_async.bolt11",
    "aurpay_async.callbacks",
    "aurpay_async.callbacks.sql",
    "aurpay_async.orders",
    "aurpay_async.sandbox",
    "aurpay_async.testing",
)
#: Modules that examples import, and that an older environment may lack.
OPTIONAL = ("structlog", "sentry_sdk")
LINK = re.compile(r"(?:\]\(|src=\"|srcset=\")([^)\s:\"]*)[)\"]")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
#: An entry of the catalogue of errors.
ENTRY = re.compile(r"^### (\w+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
FENCED = re.compile(r"^(`{3,}).*?^\1$", re.MULTILINE | re.DOTALL)


def has_tests(example: Example) -> bool:
    return "\nasync def test_" in example.parsed


def run(example: Example) -> None:
    """Run an example alone, with top-level await as in `python -m asyncio`."""
    for name in OPTIONAL:
        if f"import {name}\n" in example.parsed:
            pytest.importorskip(name, reason=f"{name} is not installed")
    if has_tests(example):
        run_as_tests(example)
        return
    code = compile(
        pad(example.parsed, example.line + example.parsed.line_offset),
        example.path,
        "exec",
        ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
    names: dict[str, Any] = {"__name__": "__main__"}
    with redirect_stdout(io.StringIO()) as printed:
        result = eval(code, names)  # noqa: S307 - our own pages
        if inspect.isawaitable(result):
            asyncio.run(_wait(result))
    assert printed.getvalue() == shown(example)


async def _wait(result: Any) -> None:
    await result


def run_as_tests(example: Example) -> None:
    """Run the tests of a page with pytest, beside the files that they import."""
    folder: Path = example.namespace["folder"]
    (folder / "test_page.py").write_text(example.parsed, encoding="utf-8")
    settings = SETTINGS
    if "pytest.mark.a" in example.parsed:
        settings = settings.replace("auto", "strict").replace(
            ASYNCIO, f"{ASYNCIO} {ANYIO}"
        )
    (folder / "pytest.ini").write_text(settings, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--disable-plugin-autoload"]
    done = subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True
    )
    assert f"{example.parsed.count('async def test_')} passed" in done.stdout, (
        done.stdout + done.stderr
    )


def write_files(example: Example, folder: Path) -> None:
    """Write the files that an example imports, of docs/orders.md or of its page."""
    for other in (*DOCUMENTS[ORDERS].examples(), *example.document.examples()):
        if named := FILE.match(other.parsed):
            (folder / named[1]).write_text(other.parsed, encoding="utf-8")


def shown(example: Example) -> str:
    """Return the output that the page shows."""
    found = PRINTED.match(example.document.text, example.end)
    return found[1] if found else ""


DOCUMENTS = [
    Sybil(parsers=[CodeBlockParser("python", run)]).parse(page) for page in PAGES
]
EXAMPLES = [
    pytest.param(
        example,
        id=f"{Path(example.path).stem}-{example.line}",
        marks=pytest.mark.slow if has_tests(example) else (),
    )
    for document in DOCUMENTS
    for example in document.examples()
]


@pytest.fixture
def logging_state() -> Iterator[None]:
    """Undo the configuration of logging by an example."""
    names = ("", "aurpay_async", "uvicorn.access")
    loggers = [logging.getLogger(name) for name in names]
    before = [(one, one.level, [*one.handlers], [*one.filters]) for one in loggers]
    yield
    for logger, level, handlers, filters in before:
        logger.setLevel(level)
        logger.handlers, logger.filters = handlers, filters


@pytest.mark.usefixtures("logging_state")
@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs_and_prints_what_it_shows(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    if "import aioresponses\n" in example.parsed:
        allow_aioresponses(monkeypatch)
    example.namespace["folder"] = tmp_path
    write_files(example, tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        example.evaluate()
    finally:
        for file in tmp_path.glob("*.py"):
            sys.modules.pop(file.stem, None)


#: Errors of a shop with which the tests of its page have to fail: the page, the file
#: of the shop, and what is replaced by what.
_PAID = 'notification.outcome in {"paid", "late_paid"}'
_DEFECTS = [
    ("fastapi.md", "shop", "if change.newly_paid:", "if True:"),
    ("fastapi.md", "shop", "if change.newly_paid:", "if change.changed:"),
    ("testing.md", "shop", "if change.newly_paid:", "if True:"),
    ("testing.md", "shop", "if change.newly_paid:", "if change.changed:"),
    ("testing.md", "shop", "change.newly_paid:", "change.attempt.state == 'paid':"),
    ("testing.md", "shop", "(notification, connection=tx)", "(notification)"),
    ("testing.md", "shop", "TEXT PRIMARY KEY", "TEXT"),
    (
        "testing.md",
        "shop",
        "async with store.running(every=60, on_change=fulfil)",
        "if True",
    ),
    ("testing.md", "aiohttp_shop", _PAID, "True"),
    ("testing.md", "aiohttp_shop", "if cart in self.shipments:", "if False:"),
    ("testing.md", "aiohttp_shop", "if cart not in self.payable:", "if True:"),
    ("testing.md", "api", _PAID, "True"),
    ("testing.md", "api", "if cart in shipments:", "if False:"),
    ("testing.md", "api", "if cart not in payable:", "if True:"),
    ("testing.md", "django_shop", _PAID, "True"),
    ("testing.md", "django_shop", "notification.reference not in shipments", "True"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "shop", "right", "wrong"), _DEFECTS)
def test_tests_of_a_page_fail_with_a_shop_that_has_a_defect(
    page: str, shop: str, right: str, wrong: str, tmp_path: Path
) -> None:
    examples = [*DOCUMENTS[PAGES.index(DOCS / page)].examples()]
    imported = re.compile(
        rf"^from {shop} import|import_module\(\"{shop}\"\)", re.MULTILINE
    )
    tests = next(e for e in examples if has_tests(e) and imported.search(e.parsed))
    tests.namespace["folder"] = tmp_path
    write_files(tests, tmp_path)
    file = tmp_path / f"{shop}.py"
    code = file.read_text(encoding="utf-8")
    assert code.count(right) == 1
    file.write_text(code.replace(right, wrong), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"(?s)FAILED .*\d failed"):
        run_as_tests(tests)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Using `httpx` with `starlette.testclient`")
@pytest.mark.filterwarnings("ignore:The anyio.abc.BlockingPortal alias")
# uvloop warns while it closes the loop of the client's connection; if the warning is an
# error, it leaves the connection open and waits for it for ever.
@pytest.mark.filterwarnings("ignore:unclosed resource:ResourceWarning")
async def test_callback_beside_the_lifespan_of_test_client_is_answered_with_503(
    aurpay_sandbox: Sandbox,
    aurpay_client: AurpayClient,
    aurpay_clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    # The page about testing says so: the client is in use on another event loop.
    from starlette.testclient import TestClient

    names: dict[str, Any] = {}
    page = DOCUMENTS[PAGES.index(DOCS / "testing.md")]
    (shop,) = [e for e in page.examples() if e.parsed.startswith("# api.py")]
    exec(shop.parsed, names)  # noqa: S102 - our own page
    verifier = CallbackVerifier(
        secrets=[aurpay_sandbox.callback_secret],
        reference_key=REFERENCE_KEY,
        clock=aurpay_clock,
    )
    app = names["create_app"](aurpay_client, verifier)
    aurpay_sandbox.deliver_to(app, names["SHOP"])
    with TestClient(app, base_url=names["SHOP"]) as browser:
        answer = await asyncio.to_thread(browser.post, "/carts/42/pay")
        (sent,) = await aurpay_sandbox.pay(answer.json()["order_id"])
    assert sent.status == 503
    assert "ConfigurationError: this client is in use on another" in caplog.text


def test_examples_of_the_readme_have_at_most_20_and_30_lines_of_code() -> None:
    for example, limit in zip(DOCUMENTS[0].examples(), (20, 30), strict=True):
        lines = example.parsed.splitlines()
        assert sum(bool(line) and line[0] != "#" for line in lines) <= limit


def test_fastapi_page_has_the_shop_of_the_readme() -> None:
    _, shop = DOCUMENTS[0].examples()
    page = (DOCS / "fastapi.md").read_text(encoding="utf-8")
    assert f"```python\n{shop.parsed}```\n" in page


def test_every_block_names_its_language_and_every_python_block_is_run() -> None:
    text = "".join(document.text for document in DOCUMENTS)
    found = re.findall(r"^ *```([^`\n]*)$", text, re.MULTILINE)
    marks = [mark.strip() for mark in found]
    languages = {mark for mark in marks if not mark.startswith("{")}
    shown = "text json console sh toml sql javascript ini yaml nginx"
    assert languages <= {"", "python", *shown.split(" ")}
    assert marks.count("python") == len(EXAMPLES) > 20


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of the headings, as GitHub and MyST derive them."""
    return {
        re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-")
        for title in HEADING.findall(prose(page))
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_and_pictures_of_a_page_have_targets(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        target, _, anchor = link.partition("#")
        found = (page.parent / target).resolve() if target else page
        assert found.exists(), link
        if anchor:
            assert anchor in anchors(found), link


def test_catalogue_of_errors_has_every_error_with_code_state_and_advice() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    entries = dict(ENTRY.findall(page))
    tree = {
        name: kind
        for name in errors.__all__
        if issubclass(kind := getattr(errors, name), AurpayError)
    }
    assert entries.keys() == tree.keys()
    for name, kind in tree.items():
        assert f"`{kind.code}`" in entries[name], name
        for part in ("Exists:", "Do:"):
            assert f"- **{part}**" in entries[name], (name, part)


def test_first_screen_of_the_readme_says_that_no_live_account_was_used() -> None:
    readme = PAGES[0].read_text(encoding="utf-8")
    before_the_examples, _, examples = readme.partition("```python")
    for said in (
        "not yet been run against the live platform",
        "pip install",
        "Python 3.11",
        "idempotency key",
        "webhooks",
    ):
        assert said in before_the_examples, said
    assert "sandbox.pay(" in examples.partition("```")[0]
    for said in ("FastAPI(", "Exactly-once", "MIT licence"):
        assert said in examples, said


def test_every_guarantee_of_the_readme_names_an_existing_test() -> None:
    text = PAGES[0].read_text(encoding="utf-8")
    for name, path in re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", text):
        code = (ROOT / path).read_text(encoding="utf-8")
        assert f"def {name}(" in code, name


def situations(title: str) -> list[tuple[str, str]]:
    """Return each fault that a table of the page names, with its row."""
    page = (DOCS / "what-happens.md").read_text(encoding="utf-8")
    rows = page.partition(f"\n## {title}\n")[2].partition("\n## ")[0].splitlines()
    return [
        (tried, row)
        for row in rows
        if row.startswith("|")
        for faults in re.findall(r"\(try (.*?)\) \|", row)
        for tried in re.findall(r"`([^`]+)`", faults)
    ]


@pytest.mark.slow
async def test_faults_of_create_order_have_the_outcomes_that_the_page_says() -> None:
    found = situations("Failures of create_order")
    assert len(found) > 20
    for fault, row in found:
        timeouts = Timeouts(attempt=60, call=60)
        async with Sandbox() as sandbox, sandbox.client(timeouts=timeouts) as aurpay:
            if fault == "replayed":
                await aurpay.create_order("99.00", "USD")
            sandbox.faults.push(fault)
            if fault == "stale":
                await aurpay.create_order("99.00", "USD")
            call = asyncio.create_task(aurpay.create_order("20.00", "USD"))
            if fault == "silence":
                while not sandbox.requests:
                    await asyncio.sleep(0)
                advance_loop(60)
            with pytest.raises(AurpayError) as caught:
                await call
        _, _, get, _ = row.split("|")
        assert f"; `{caught.value.outcome.name}`: " in get, (fault, row)
        kinds = {kind.__name__ for kind in type(caught.value).__mro__}
        assert kinds & {*re.findall(r"`(\w+Error)`", get)}, (fault, row)
        if "with `order_id`" in get and "+created" in fault:
            assert caught.value.order_id in sandbox.orders, fault


def test_answers_to_callback_faults_are_those_of_the_page() -> None:
    found = situations("Answers to callbacks (webhooks)")
    assert {outcome for outcome, _ in found} == PAID.keys()
    for outcome, row in found:
        said = re.match(r"\d+", row.split("|")[2].strip())
        assert {*PAID[outcome][0]} == {int(said[0]) if said else None}, row


def test_stored_svg_pictures_are_up_to_date() -> None:
    for name, draw in DRAWINGS.items():
        stored = (DOCS / "images" / f"{name}.svg").read_text(encoding="utf-8")
        assert stored == draw(), name


def test_layers_of_the_picture_are_in_the_order_of_the_contract() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    rows = [re.split(r" [|:] ", row) for row in contracts[0]["layers"]]
    height = {module: place for place, row in enumerate(rows) for module in row}
    drawn = [height[f"aurpay_async.{m}"] for row in LAYERS for m in row.modules]
    assert drawn == sorted(drawn)


def test_support_page_names_each_dependency_with_its_lower_bound() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    required = {f"{name}>every installation" for name in project["dependencies"]}
    for extra, names in project["optional-dependencies"].items():
        required |= {f"{name}>`{extra}`" for name in names}
    table = re.findall(
        r"^\| ([\w-]+) \| ([\d.]+) \| (.+) \|$",
        (ROOT / "SUPPORT.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert {re.sub(r"\[.*?\]", "", row) for row in required} == {
        f"{name}>={bound}>{extra}"
        for name, bound, extras in table
        for extra in extras.split(", ")
    }


def test_install_page_has_each_extra_and_pages_install_no_other() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        extras = tomllib.load(file)["project"]["optional-dependencies"].keys()
    table = re.findall(
        r"^\| (`.*?`) \|", (DOCS / "install.md").read_text(), re.MULTILINE
    )
    assert {*re.findall(r"`(\w+)`", " ".join(table))} == extras
    text = "".join(document.text for document in DOCUMENTS)
    lines = re.findall(r"pip install '(?:\.|aurpay-async)\[([\w,]+)\]'", text)
    assert len(lines) > 10
    assert {extra for line in lines for extra in line.split(",")} <= extras


def test_support_page_names_each_python_of_the_classifiers() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    versions = re.findall(r"Python :: (3\.\d+)", " ".join(classifiers))
    text = (ROOT / "SUPPORT.md").read_text(encoding="utf-8")
    assert f"| CPython | {', '.join(versions)};" in text


@pytest.mark.skipif(
    not (ROOT / "tools").exists(), reason="the source archive lacks some of the files"
)
def test_files_that_contributing_and_the_architecture_page_name_exist() -> None:
    package = Path(aurpay_async.__file__).parent
    pages = (ROOT / "CONTRIBUTING.md", DOCS / "architecture.md")
    named = {
        name
        for page in pages
        for name in re.findall(r"`((?:\w+/)+\w+(?:\.\w+)?)`", page.read_text("utf-8"))
    }
    assert len(named) > 50
    for name in named:
        found = (
            root / f"{name}{ending}"
            for root in (ROOT, package)
            for ending in ("", ".py")
        )
        assert any(path.exists() for path in found), name


def test_every_public_module_is_in_the_reference() -> None:
    package = Path(aurpay_async.__file__).parent
    found = pkgutil.walk_packages([str(package)], "aurpay_async.")
    public = {info.name for info in found if "._" not in info.name}
    pages = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    described = set(re.findall(r"automodule:: (\S+)", pages))
    assert described == {"aurpay_async", *public} - {"aurpay_async.contrib"}


def test_every_public_class_is_in_an_example_of_the_reference() -> None:
    code = "".join(
        example.parsed
        for document in DOCUMENTS
        for example in document.examples()
        if Path(example.path).parent.name == "reference"
    )
    words = {*re.findall(r"\w+", code)}
    modules = map(import_module, MODULES_WITH_CLASSES)
    missing = {
        name
        for module in modules
        for name in module.__all__
        if inspect.isclass(kind := getattr(module, name))
        and not issubclass(kind, Exception)
        and name not in words
    }
    assert missing == set()


#: An amount that is printed, or put into a string, without a format.
_UNFORMATTED = re.compile(
    r"\{[^{}:]*\.(?:amount|fee|obtained)\}"
    r"|(?:print|str)\((?:[^()]|\([^()]*\))*\.(?:amount|fee|obtained)\b(?![_:])"
)


def test_every_amount_that_pages_and_examples_print_is_fixed_point() -> None:
    # str() of a Decimal below 0.000001 has an exponent.
    assert _UNFORMATTED.search('print(order.status, order.amount, "BTC")')
    assert _UNFORMATTED.search('f"{order.amount} BTC"')
    assert not _UNFORMATTED.search('print(f"{order.amount:f}", made.amount_msat)')
    programs = [
        *(ROOT / "examples").rglob("*.py"),
        *(ROOT / "aurpay_async").rglob("*.py"),
    ]
    for page in (*PAGES, *programs):
        found = _UNFORMATTED.findall(page.read_text(encoding="utf-8"))
        assert found == [], page.name
