"""The metrics in Prometheus's format, and the alert rules for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async._core import metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
RULES = ROOT / "docs" / "alerts.yml"
PAGE = ROOT / "docs" / "metrics.md"
RUNBOOK = ROOT / "docs" / "runbook.md"

#: Seconds after which a process is considered to hang.
PATIENCE_S = 60


def exported(name: str, unit: str) -> str:
    """Return the name of a metric in Prometheus."""
    suffix = "_seconds" if unit == "s" else ""
    return name.replace(".", "_") + suffix


NAMES = {
    *(exported(name, unit) + "_total" for name, (unit, _) in metrics._COUNTERS.items()),
    *(exported(name, unit) for name, (unit, _, _) in metrics._GAUGES.items()),
    exported(metrics.DURATION, "s"),
}


def expressions() -> dict[str, str]:
    """Return the expression of each alert."""
    yaml = pytest.importorskip("yaml", reason="not installed")
    [group] = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


def test_alert_rules_use_existing_metrics_and_are_listed_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    labels = {name.replace(".", "_") for name in re.findall(r"`([a-z.]+)`", page)}
    for alert, expression in expressions().items():
        found = re.findall(r"\baurpay_\w+", expression)
        used = {name.removesuffix("_count") for name in found}
        assert used & NAMES, alert
        assert used <= NAMES | labels, alert
        assert f"| `{alert}` |" in page
    for name in [metrics.DURATION, *metrics._COUNTERS, *metrics._GAUGES]:
        assert f"| `{name}` |" in page


def test_each_alert_is_a_symptom_of_the_runbook_with_a_section() -> None:
    page = RUNBOOK.read_text("utf-8")
    rows = re.findall(r"^\|.*\|.*\]\(.*#.*\|$", page, re.MULTILINE)
    for alert in expressions():
        assert any(f"`{alert}`" in row for row in rows), alert


def promtool(*arguments: str | Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_promtool_accepts_the_alert_rules_and_their_tests(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path / "alerts.yml")
    shutil.copy(ROOT / "tests" / "alerts.yml", tmp_path / "tests.yml")
    promtool("check", "rules", tmp_path / "alerts.yml")
    promtool("test", "rules", tmp_path / "tests.yml")


@pytest.fixture
def exporter() -> Iterator[str]:
    """Run the example that serves metrics; return the URL of its metrics."""
    for module in ("opentelemetry.exporter.prometheus", "prometheus_client"):
        pytest.importorskip(module, reason="not installed")
    with running("-m", "examples.metrics", METRICS_PORT="0") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


@contextlib.contextmanager
def running(*arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, *arguments]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(
        command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310
        return str(answer.read().decode())


async def until(found: Any) -> Any:
    """Repeat a blocking function until it returns a true value."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with contextlib.suppress(OSError):
                if result := await asyncio.to_thread(found):
                    return result
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_the_example_serves_metrics_under_the_names_that_the_rules_use(
    exporter: str,
) -> None:
    parser = pytest.importorskip("prometheus_client.parser")

    def families() -> dict[str, Any]:
        text = get(exporter)
        found = parser.text_string_to_metric_families(text)
        families = {family.name: family for family in found}
        return families if "aurpay_reconcile_age_seconds" in families else {}

    found = await until(families)
    ours = {
        name + "_total" * (family.type == "counter"): family
        for name, family in found.items()
        if name.startswith("aurpay_")
    }
    assert ours.keys() <= NAMES
    states = {
        sample.labels["aurpay_order_state"]: sample.value
        for sample in ours["aurpay_store_orders"].samples
    }
    assert states["payable"] == 1
    assert sum(states.values()) == 1
    [calls] = [
        sample
        for sample in ours["aurpay_client_operation_duration_seconds"].samples
        if sample.name.endswith("_count")
        and sample.labels["aurpay_operation"] == "create_order"
    ]
    assert calls.value == 1


@pytest.mark.slow
async def test_fastapi_shop_of_the_page_serves_its_metrics_without_a_redirect(
    tmp_path: Path,
) -> None:
    for module in ("opentelemetry.exporter.prometheus", "prometheus_client"):
        pytest.importorskip(module, reason="not installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "AURPAY_API_KEY": "any",
        "AURPAY_BASE_URL": "http://127.0.0.1:9",
        "AURPAY_NETWORK": "regtest",
        "AURPAY_REFERENCE_KEY": "sandbox-reference-key",
        "AURPAY_DATABASE": f"sqlite+aiosqlite:///{tmp_path}/shop.db",
    }
    command = ("-m", "uvicorn", "examples.metrics_shop:app", "--port", str(port))
    with running(*command, **environment):
        found_age = await until(
            lambda: "aurpay_reconcile_age_seconds" in get_directly(port, "/metrics")
        )
    assert found_age


def get_directly(port: int, path: str) -> str:
    """Return the body of a page; a redirect is an error."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        assert response.status == 200
        return response.read().decode()


@pytest.mark.slow
async def test_prometheus_scrapes_the_example_and_evaluates_the_rules(
    exporter: str, tmp_path: Path
) -> None:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian's package)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    target = urllib.parse.urlsplit(exporter).netloc
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        f"rule_files: [{RULES}]\n"
        "scrape_configs:\n"
        f"  - {{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}\n",
        encoding="utf-8",
    )
    process = await asyncio.create_subprocess_exec(
        program,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address={address}",
        "--log.level=error",
    )

    def ask(path: str, **query: str) -> Any:
        url = f"http://{address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        return json.loads(get(url))["data"]

    def payable() -> Any:
        query = 'aurpay_store_orders{aurpay_order_state="payable"}'
        return ask("query", query=query)["result"]

    def rules() -> Any:
        [group] = ask("rules")["groups"]
        rules = group["rules"]
        return all(rule["health"] != "unknown" for rule in rules) and rules

    try:
        [order] = await until(payable)
        assert order["value"][1] == "1"
        evaluated = await until(rules)
    finally:
        process.kill()
        await process.wait()
    assert {rule["name"]: rule["health"] for rule in evaluated} == dict.fromkeys(
        expressions(), "ok"
    )
