"""``aurpay doctor``: what it finds here, and what it never says."""

from __future__ import annotations

import asyncio
from importlib import metadata
from typing import TYPE_CHECKING, Any

import pytest

from aurpay_async import ApiToken, bolt11
from aurpay_async._cli import _doctor, _doctor_local
from aurpay_async._cli._doctor_local import (
    base_url,
    callback_keys,
    callback_signatures,
    credentials,
    look_here,
    network,
    proxies,
    reference_key,
    request_signatures,
)
from aurpay_async._cli._findings import Finding
from aurpay_async.bolt11 import _secp256k1
from aurpay_async.sandbox import Sandbox

from ..conftest import load

if TYPE_CHECKING:
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


async def test_a_healthy_set_up(aurpay: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is well with a sandbox that wants signatures, and a live one is taken."""
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
    assert "✓ signed GET     taken" in done.out
    assert "! proxies        HTTPS_PROXY set" in done.out
    assert record["ok"] is True
    assert {finding["verdict"] for finding in record["findings"]} == {"ok", "warning"}
    for secret in [*SECRETS.values(), "proxy-password", "proxy.example"]:
        assert secret not in done.out


def test_a_sick_one(aurpay: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each problem is told with what to do; the exit code is 1, nobody is called."""
    monkeypatch.setenv("AURPAY_BASE_URL", "ftp://127.0.0.1/?key=hidden")
    monkeypatch.setenv("AURPAY_API_TOKEN", "half-of-it")
    done = aurpay("doctor")
    assert done.code == 1
    assert "✗ credentials " in done.out
    assert "✗ base url " in done.out
    assert "-> Set it anew" in done.out
    assert "dns" not in done.out
    for hidden in ("hidden", "half-of-it"):
        assert hidden not in done.out


def test_what_a_finding_repeats_is_taken_out(
    aurpay: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if an error or a version should hold a secret."""

    def leak() -> Any:
        yield Finding("x", "problem", "made-up-api-key", "made-up-api-key")

    async def nothing() -> Any:
        nobody: list[Finding] = []
        for finding in nobody:
            yield finding

    monkeypatch.setenv("AURPAY_API_KEY", "made-up-api-key")
    monkeypatch.setattr(_doctor, "look_here", leak)
    monkeypatch.setattr(_doctor, "look_there", nothing)
    assert "made-up" not in aurpay("doctor").out


def test_versions_of_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An extra may be missing."""

    def version(name: str) -> str:
        if name == "wallycore":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(_doctor_local, "version", version)
    found = {finding.name: finding for finding in look_here()}
    assert found["packages"].found.endswith("segno 1, no wallycore")


def test_the_curve(curve: Curve) -> None:
    """Which one, and how fast; plain Python is told of a faster one."""
    finding = _doctor_local.curve()
    plain = bolt11.backend() == "python"
    assert "ms for an invoice" in finding.found
    assert ("plain Python" in finding.found) is plain
    assert ("fast" in finding.advice) is plain
    assert _secp256k1.curve() is curve


def test_the_known_signatures_are_those_of_the_vectors() -> None:
    """Computed elsewhere, from the documented rule."""
    vectors = load("aurpay.json")["signature_vectors"]
    known = {v["name"]: v["expected_signature"] for v in vectors["request"]}
    assert {
        "HMAC-SHA256": known["doc-get-query"],
        "HMAC-SHA3_256": known["doc-get-query-sha3"],
    } == _doctor_local._SIGNATURES
    callback = vectors["callback"][0]
    assert callback["callback_url"] == _doctor_local._CALLBACK_URL
    assert callback["expected_signature"] == _doctor_local._CALLBACK_SIGNATURE


def test_signatures_that_are_not_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken OpenSSL, or a broken package."""
    monkeypatch.setattr(ApiToken, "headers", lambda *_: {"Signature": "other"})
    assert request_signatures().verdict == "problem"
    monkeypatch.setattr(_doctor_local, "_CALLBACK_SIGNATURE", "other")
    assert callback_signatures().verdict == "problem"
    monkeypatch.setattr(_doctor_local, "sign_callback", lambda *_, **__: {})
    assert "verifier" in callback_signatures().found


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
        ({"AURPAY_API_KEY": "kä"}, "problem", "AURPAY_API_KEY: the API key holds"),
        ({"AURPAY_API_SECRET": "s"}, "problem", "AURPAY_API_TOKEN is not set"),
    ],
)
def test_credentials(
    monkeypatch: pytest.MonkeyPatch, held: dict[str, str], verdict: str, found: str
) -> None:
    """Whether they are there and can be sent; a key is advised against."""
    for name, value in held.items():
        monkeypatch.setenv(name, value)
    finding = credentials()
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
def test_a_sandbox_on_another_host_has_the_test_network_and_plain_http(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], verdict: str
) -> None:
    """As in a network of containers, or behind a TLS proxy."""
    for name, value in {"NETWORK": "regtest", **environment}.items():
        monkeypatch.setenv(f"AURPAY_{name}", value)
    assert network().verdict == verdict


@pytest.mark.parametrize(
    ("name", "value", "look", "verdict"),
    [
        ("AURPAY_CALLBACK_SECRET", "plain", callback_keys, "ok"),
        ("AURPAY_CALLBACK_SECRET", "not plain: ä", callback_keys, "problem"),
        ("AURPAY_REFERENCE_KEY", "x" * 16, reference_key, "ok"),
        ("AURPAY_REFERENCE_KEY", "short", reference_key, "problem"),
        ("AURPAY_BASE_URL", "https://aurpay.example", base_url, "ok"),
        ("AURPAY_BASE_URL", "http://aurpay.example", base_url, "problem"),
        ("AURPAY_NETWORK", "mainnet", network, "ok"),
        ("AURPAY_NETWORK", "regtest", network, "warning"),
        ("AURPAY_NETWORK", "moonnet", network, "problem"),
        ("AURPAY_BASE_URL", "http://127.0.0.1:8765", network, "warning"),
        ("http_proxy", "http://proxy.example", proxies, "warning"),
    ],
)
def test_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, look: Any, verdict: str
) -> None:
    """Each setting: as it should be, odd, or impossible; no value is shown."""
    assert look().verdict == "ok"
    monkeypatch.setenv(name, value)
    finding = look()
    assert finding.verdict == verdict
    if verdict != "ok":
        assert finding.advice
