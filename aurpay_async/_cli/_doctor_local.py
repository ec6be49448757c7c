"""Checks of ``aurpay doctor`` on this machine: versions, crypto, environment."""

from __future__ import annotations

import os
import platform
import ssl
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import TYPE_CHECKING, Final

from .._auth import ApiKey, ApiToken
from .._client import BASE_URL
from .._http import Effect, Request
from .._keys import keys_from_env
from .._network import NETWORKS
from .._settings import (
    auth_from_env,
    bool_from_env,
    require_allow_http,
    require_network,
    require_origin,
)
from .._urls import format_origin, is_loopback
from ..bolt11 import backend, decode
from ..callbacks import CallbackVerifier
from ..errors import AurpayError, ConfigurationError
from ..testing import FakeClock, sign_callback
from ._findings import Finding
from ._order_view import BACKENDS
from ._secrets import CALLBACK_SECRET, CALLBACK_TOKEN, VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._auth import Algorithm
    from .._network import Network
    from .._urls import Origin

_PACKAGES: Final = (
    "aiohttp",
    "attrs",
    "cattrs",
    "itsdangerous",
    "cyclopts",
    "rich",
    "segno",
    "wallycore",
)

#: An example invoice of BOLT #11.
_INVOICE: Final = (
    "lnbc2500u1pvjluezsp5zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zyg3zygspp5qqqsyqcyq"
    "5rqwzqfqqqsyqcyq5rqwzqfqqqsyqcyq5rqwzqfqypqdq5xysxxatsyp3k7enxv4jsxqzpu9qrsgquk0rl77"
    "nj30yxdy8j9vdx85fkpmdla2087ne0xh8nhedh8w27kyke0lp53ut353s06fv3qfegext0eh0ymjpf39tuve"
    "n09sam30g4vgpfna3rh"
)
#: How long the speed of signature verification is measured.
_SPEED_S: Final = 0.05

#: Aurpay's documented requests. The documentation has neither secrets nor signatures,
#: so the secrets are made up.
_SIGNED_AT: Final = datetime(2024, 6, 17, tzinfo=UTC)
_PATH: Final = "/test/logs?size=20&page=2"
_SIGNATURES: Final[dict[Algorithm, str]] = {
    "HMAC-SHA256": "rflWAsd/xo3UDbAo2RMWSJDM/uqhitU195dkP8qncr0=",
    "HMAC-SHA3_256": "PdRdXv/ArQZhAvdNsXaH7DskYmKcYRTQQDInq0FGd+o=",
}
_CALLBACK_URL: Final = "https://api.you.com/callback?id=32"
_CALLBACK_SIGNATURE: Final = "GyVNxJEBI11GoK2i8L9vAFiPEU1LZkxIqoFCy033jzU="

_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def check_local() -> Iterator[Finding]:
    """Run all checks that need no network."""
    yield Finding("aurpay-async", "ok", version("aurpay-async"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding("python", "ok", f"{python} on {platform.platform()}")
    yield Finding("packages", "ok", ", ".join(_versions()))
    yield Finding("openssl", "ok", ssl.OPENSSL_VERSION)
    yield check_curve()
    yield check_request_signatures()
    yield check_callback_signatures()
    yield check_credentials()
    yield check_callback_keys()
    yield check_reference_key()
    yield check_base_url()
    yield check_network()
    yield check_proxies()


def configured_origin() -> Origin:
    """Return the configured origin of the API.

    Raises:
        ConfigurationError: if ``AURPAY_BASE_URL`` or ``AURPAY_ALLOW_HTTP`` is invalid.
    """
    return require_origin(
        os.environ.get("AURPAY_BASE_URL") or BASE_URL,
        "AURPAY_BASE_URL",
        allow_http=bool(bool_from_env("AURPAY_ALLOW_HTTP")),
    )


def _versions() -> Iterator[str]:
    for package in _PACKAGES:
        try:
            yield f"{package} {version(package)}"
        except PackageNotFoundError:
            yield f"no {package}"


def check_curve() -> Finding:
    """Measure how fast signatures of invoices are verified."""
    began, count = perf_counter(), 0
    while perf_counter() - began < _SPEED_S:
        decode(_INVOICE)
        count += 1
    each_ms = 1000 * (perf_counter() - began) / count
    library = backend()
    advice = (
        "libsecp256k1 is about 30 times faster: pip install 'aurpay-async[fast]'"
        if library == "python"
        else ""
    )
    found = f"{BACKENDS[library]}, {each_ms:.2f} ms per invoice"
    return Finding("curve", "ok", found, advice)


def check_request_signatures() -> Finding:
    """Compare the signature of a known request with the released one."""
    request = Request(operation="doctor", method="GET", path=_PATH, effect=Effect.READ)
    for algorithm, expected in _SIGNATURES.items():
        token = ApiToken("example-api-token", "example-api-secret", algorithm)
        if token.headers(request, _SIGNED_AT)["Signature"] != expected:
            return _broken("signatures", algorithm)
    return Finding(
        "signatures", "ok", f"{' and '.join(_SIGNATURES)} of a known request"
    )


def check_callback_signatures() -> Finding:
    """Sign and verify a known callback, and compare its signature."""
    secret = "example-callback-secret"  # noqa: S105 - made up
    headers = sign_callback(_CALLBACK_URL, secret=secret, now=_SIGNED_AT)
    verifier = CallbackVerifier(secrets=[secret], clock=FakeClock(_SIGNED_AT))
    try:
        verifier.verify(method="GET", url=_CALLBACK_URL, headers=headers)
    except AurpayError:
        return _broken("callbacks", "the verifier")
    if headers["Signature"] != _CALLBACK_SIGNATURE:
        return _broken("callbacks", "HMAC-SHA256")
    return Finding("callbacks", "ok", "a known callback was signed and verified")


def _broken(name: str, algorithm: str) -> Finding:
    found = f"{algorithm} gives a wrong result"
    return Finding(name, "problem", found, "Reinstall aurpay-async and Python.")


def check_credentials() -> Finding:
    """Check that credentials are set and well-formed."""
    names = [name for name in VARIABLES[:3] if os.environ.get(name)]
    try:
        auth = auth_from_env()
    except ConfigurationError as error:
        if names:
            return Finding("credentials", "problem", str(error), "Set them again.")
        advice = "Set AURPAY_API_KEY, or AURPAY_API_TOKEN and AURPAY_API_SECRET."
        return Finding("credentials", "warning", "none are set", advice)
    advice = "Aurpay recommends a token and a secret for production."
    return Finding(
        "credentials",
        "ok",
        f"{' and '.join(names)}, well-formed",
        advice if isinstance(auth, ApiKey) else "",
    )


def check_callback_keys() -> Finding:
    """Check that the callback keys of the environment are well-formed."""
    names = [name for name in (CALLBACK_TOKEN, CALLBACK_SECRET) if os.environ.get(name)]
    if not names:
        return Finding("callback keys", "ok", "none are set")
    try:
        CallbackVerifier(secrets=[os.environ[name] for name in names])
    except ConfigurationError:
        found = "one of them is not plain ASCII"
        return Finding("callback keys", "problem", found, "Copy it again.")
    return Finding("callback keys", "ok", f"{' and '.join(names)}, well-formed")


def check_reference_key() -> Finding:
    """Check that the key of references is well-formed."""
    try:
        keys = keys_from_env()
    except ConfigurationError as error:
        return Finding("reference key", "problem", str(error), "Generate another key.")
    found = "not set" if keys is None else "AURPAY_REFERENCE_KEY, well-formed"
    return Finding("reference key", "ok", found)


def check_base_url() -> Finding:
    """Check the base URL."""
    try:
        origin = configured_origin()
    except ConfigurationError as error:
        return Finding("base url", "problem", str(error), "Correct or unset it.")
    return Finding("base url", "ok", format_origin(origin))


def check_network() -> Finding:
    """Check the network, and that the base URL has invoices of it."""
    try:
        name = require_network(
            os.environ.get("AURPAY_NETWORK") or NETWORKS[0], "AURPAY_NETWORK"
        )
        allow_http = bool(bool_from_env("AURPAY_ALLOW_HTTP"))
        require_allow_http(allow_http, name, "AURPAY_ALLOW_HTTP")
        expected = _expected_network(configured_origin())
    except ConfigurationError as error:
        return Finding("network", "problem", str(error), "Correct or unset it.")
    if expected is not None and (name == NETWORKS[0]) != (expected == NETWORKS[0]):
        advice = f"Its invoices are of {expected}: set AURPAY_NETWORK={expected}."
        return Finding("network", "warning", name, advice)
    return Finding("network", "ok", name)


def _expected_network(origin: Origin) -> Network | None:
    """Return the network of a sandbox on this machine or of Aurpay, else None."""
    if is_loopback(origin[1]):
        return "regtest"
    return NETWORKS[0] if format_origin(origin) == BASE_URL else None


def check_proxies() -> Finding:
    """Check for proxies in the environment, which the client does not use."""
    names = [
        name
        for name in _PROXIES
        if os.environ.get(name) or os.environ.get(name.lower())
    ]
    if not names:
        return Finding("proxies", "ok", "none in the environment")
    advice = "Only AurpayClient(trust_env=True) uses it; this check does not."
    return Finding("proxies", "warning", f"{', '.join(names)} set", advice)
