"""``aurpay doctor``: checks on this machine, and secrets that it never shows."""

from __future__ import annotations

import asyncio
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ApiToken, bolt11
from aurpay_async._cli import doctor
from aurpay_async._cli.doctor import (
    Finding,
    check_base_url,
    check_callback_keys,
    check_callback_signatures,
    check_credentials,
    check_database,
    check_local,
    check_network,
    check_proxies,
    check_reference_key,
    check_request_signatures,
)
from aurpay_async.bolt11 import _secp256k1
from aurpay_async.orders import upgrade
from aurpay_async.sandbox import Sandbox

from ..conftest import load

if TYPE_CHECKING:
    from pathlib import Path

    from aurpay_async.bolt11._secp256k1 import Curve

    from .conftest import Run

SECRETS = {
    "AURPAY_API_TOKEN": "made-up-api-token",
    "AURPAY_API_SECRET": "made-up-api-secret",
    "AURPAY_CALLBACK_TOKEN": "made-up-callback-token",
    "AURPAY_CALLBACK_SECRET": "made-up-callback-secret",
    "AURPAY_REFERENCE_KEY": "made-up-reference-key",
}


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


async def test_doctor_finds_no_problem_with_a_signed_sandbox(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Sandbox(
        api_token=SECRETS["AURPAY_API_TOKEN"], api_secret=SECRETS["AURPAY_API_SECRET"]
    ) as sandbox:
        monkeypatch.setenv("AURPAY_BASE_URL", sandbox.base_url)
        monkeypatch.setenv("AURPAY_NETWORK", "regtest")
        monkeypatch.setenv("HTTPS_PROXY", "http://user:proxy-password@proxy.example")
        for name, value in SECRETS.items():
            monkeypatch.setenv(name, value)
        done = await asyncio.to_thread(aurpay, "doctor")
        record = (await asyncio.to_thread(aurpay, "doctor", "-o", "json")).record
    assert (done.code, done.err) == (0, "")
    for name in ("python", "curve", "signatures", "dns", "connection", "clock"):
        assert f"✓ {name} " in done.out
    assert "✓ signed GET     accepted" in done.out
    assert "! proxies        HTTPS_PROXY set" in done.out
    assert record["ok"] is True
    assert {finding["verdict"] for finding in record["findings"]} == {"ok", "warning"}
    for secret in [*SECRETS.values(), "proxy-password", "proxy.example"]:
        assert secret not in done.out


def test_doctor_suggests_a_fix_for_each_problem(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURPAY_BASE_URL", "ftp://127.0.0.1/?key=hidden")
    monkeypatch.setenv("AURPAY_API_TOKEN", "half-of-it")
    done = aurpay("doctor")
    assert done.code == 1
    assert "✗ credentials " in done.out
    assert "✗ base url " in done.out
    assert "-> Correct or unset it" in done.out
    assert "dns" not in done.out
    for hidden in ("hidden", "half-of-it"):
        assert hidden not in done.out


def test_doctor_removes_secrets_from_findings(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def leak() -> Any:
        yield Finding("x", "problem", "made-up-api-key", "made-up-api-key")

    async def nothing() -> Any:
        findings: list[Finding] = []
        for finding in findings:
            yield finding

    monkeypatch.setenv("AURPAY_API_KEY", "made-up-api-key")
    monkeypatch.setattr(doctor, "check_local", leak)
    monkeypatch.setattr(doctor, "check_server", nothing)
    assert "made-up" not in aurpay("doctor").out


async def test_doctor_checks_the_database_of_the_order_store(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert (await check_database()).found == "AURPAY_DATABASE is not set"
    url = f"sqlite+aiosqlite:///{tmp_path}/orders.db"
    monkeypatch.setenv("AURPAY_DATABASE", url)
    missing = await check_database()
    assert missing.found.startswith("there is no file ")
    assert "run `aurpay db upgrade`" in missing.advice
    (tmp_path / "orders.db").touch()
    empty = await check_database()
    assert empty.found == "sqlite: pending: 0001; run `aurpay db upgrade`"
    await upgrade(url)
    current = await check_database()
    tables = "sqlite: this version of aurpay-async can use the tables"
    assert current == Finding("database", "ok", tables)
    down = "postgresql+asyncpg://shop:canary@127.0.0.1:1/shop"
    monkeypatch.setenv("AURPAY_DATABASE", down)
    refused = await check_database()
    assert "ConnectionRefusedError" in refused.found
    assert "Check that the database runs" in refused.advice
    monkeypatch.setenv("AURPAY_DATABASE", "no URL")
    invalid = await check_database()
    assert invalid.advice == "Check that the database runs. Correct AURPAY_DATABASE."
    found = (missing, empty, refused, invalid)
    assert {one.verdict for one in found} == {"problem"}


async def test_doctor_names_the_extra_that_the_database_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AURPAY_DATABASE", "sqlite+aiosqlite:///orders.db")
    monkeypatch.setitem(sys.modules, "aurpay_async._cli.database", None)
    found = await check_database()
    assert (found.verdict, "aurpay-async[sql]" in found.advice) == ("problem", True)


def test_doctor_lists_missing_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "wallycore":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(doctor, "version", version)
    found = {finding.name: finding for finding in check_local()}
    assert found["packages"].found.endswith("segno 1, no wallycore")


def test_doctor_measures_signature_verification(curve: Curve) -> None:
    finding = doctor.check_curve()
    plain = bolt11.backend() == "python"
    assert "ms per invoice" in finding.found
    assert ("plain Python" in finding.found) is plain
    assert ("fast" in finding.advice) is plain
    assert _secp256k1.curve() is curve


def test_doctor_uses_the_signatures_of_the_vectors() -> None:
    vectors = load("aurpay.json")["signature_vectors"]
    known = {v["name"]: v["expected_signature"] for v in vectors["request"]}
    assert {
        "HMAC-SHA256": known["doc-get-query"],
        "HMAC-SHA3_256": known["doc-get-query-sha3"],
    } == doctor._SIGNATURES
    callback = vectors["callback"][0]
    assert callback["callback_url"] == doctor._CALLBACK_URL
    assert callback["expected_signature"] == doctor._CALLBACK_SIGNATURE


def test_doctor_reports_wrong_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApiToken, "headers", lambda *_: {"Signature": "other"})
    assert check_request_signatures().verdict == "problem"
    monkeypatch.setattr(doctor, "_CALLBACK_SIGNATURE", "other")
    assert check_callback_signatures().verdict == "problem"
    monkeypatch.setattr(doctor, "sign_callback", lambda *_, **__: {})
    assert "verifier" in check_callback_signatures().found


@pytest.mark.parametrize(
    ("held", "verdict", "found"),
    [
        ({}, "warning", "none are set"),
        ({"AURPAY_API_KEY": "k"}, "ok", "AURPAY_API_KEY, well-formed"),
        (
            {"AURPAY_API_TOKEN": "t", "AURPAY_API_SECRET": "s"},
            "ok",
            "AURPAY_API_TOKEN and AURPAY_API_SECRET, well-formed",
        ),
        ({"AURPAY_API_KEY": "kä"}, "problem", "AURPAY_API_KEY: the API key contains"),
        ({"AURPAY_API_SECRET": "s"}, "problem", "AURPAY_API_TOKEN is not set"),
    ],
)
def test_doctor_checks_that_credentials_are_well_formed(
    monkeypatch: pytest.MonkeyPatch, held: dict[str, str], verdict: str, found: str
) -> None:
    for name, value in held.items():
        monkeypatch.setenv(name, value)
    finding = check_credentials()
    assert finding.verdict == verdict
    assert finding.found.startswith(found)
    assert bool(finding.advice) is not ("AURPAY_API_SECRET" in held and verdict == "ok")


@pytest.mark.parametrize(
    ("environment", "verdict"),
    [
        ({"BASE_URL": "http://sandbox:8765", "ALLOW_HTTP": "1"}, "ok"),
        ({"BASE_URL": "https://sandbox.example"}, "ok"),
        ({"BASE_URL": "http://sandbox:8765"}, "problem"),
        ({"BASE_URL": "https://dashboard.aurpay.net"}, "warning"),
        ({"ALLOW_HTTP": "maybe"}, "problem"),
        ({"NETWORK": "mainnet", "ALLOW_HTTP": "1"}, "problem"),
    ],
)
def test_doctor_checks_network_and_plain_http_of_another_host(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], verdict: str
) -> None:
    for name, value in {"NETWORK": "regtest", **environment}.items():
        monkeypatch.setenv(f"AURPAY_{name}", value)
    assert check_network().verdict == verdict


@pytest.mark.parametrize(
    ("name", "value", "look", "verdict"),
    [
        ("AURPAY_CALLBACK_SECRET", "plain", check_callback_keys, "ok"),
        ("AURPAY_CALLBACK_SECRET", "several values", check_callback_keys, "ok"),
        ("AURPAY_CALLBACK_SECRET", "not plain: ä", check_callback_keys, "problem"),
        ("AURPAY_REFERENCE_KEY", "x" * 16, check_reference_key, "ok"),
        ("AURPAY_REFERENCE_KEY", "short", check_reference_key, "problem"),
        ("AURPAY_BASE_URL", "https://aurpay.example", check_base_url, "ok"),
        ("AURPAY_BASE_URL", "http://aurpay.example", check_base_url, "problem"),
        ("AURPAY_NETWORK", "mainnet", check_network, "ok"),
        ("AURPAY_NETWORK", "regtest", check_network, "warning"),
        ("AURPAY_NETWORK", "moonnet", check_network, "problem"),
        ("AURPAY_BASE_URL", "http://127.0.0.1:8765", check_network, "warning"),
        ("http_proxy", "http://proxy.example", check_proxies, "warning"),
    ],
)
def test_doctor_checks_each_setting_without_showing_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, look: Any, verdict: str
) -> None:
    assert look().verdict == "ok"
    monkeypatch.setenv(name, value)
    finding = look()
    assert finding.verdict == verdict
    if verdict != "ok":
        assert finding.advice
