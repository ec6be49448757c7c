"""Command `doctor`: check installation, configuration and server.

The user may paste the report into an issue, so it contains no key, token, secret or
query. It contacts the configured base URL and the database, and no other server.
"""

from __future__ import annotations

import asyncio
import os
import platform
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

import aiohttp

from .._client import BASE_URL, AurpayClient
from .._client.auth import ApiKey, ApiToken
from .._client.options import (
    auth_from_env,
    bool_from_env,
    require_allow_http,
    require_network,
    require_origin,
)
from .._core.clock import SystemClock
from .._core.http import Effect, Request
from .._core.money import NETWORKS
from .._core.secrets import DATABASE, keys_from_env, secret_from_env, secrets_from_env
from .._core.urls import format_origin, is_loopback
from ..bolt11 import backend, decode
from ..callbacks import CallbackVerifier
from ..errors import AurpayError, AuthenticationError, ConfigurationError, NotFoundError
from ..testing import FakeClock, sign_callback
from . import FAILED
from ._options import CALLBACK_SECRET, CALLBACK_TOKEN, VARIABLES, known_secrets
from ._output import TEXT, Output, Row, redacted, span
from ._views import BACKENDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from aiohttp.connector import Connection

    from .._client.auth import Algorithm
    from .._core.secrets import Secret
    from .._core.urls import Origin


class Finding(NamedTuple):
    name: str
    verdict: Literal["ok", "warning", "problem"]
    found: str
    #: How to fix it; empty if nothing is wrong.
    advice: str = ""


_PACKAGES: Final = "aiohttp attrs cattrs itsdangerous cyclopts rich segno wallycore"

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
    yield Finding("aurpay-async", "ok", version("aurpay-async"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    yield Finding("python", "ok", f"{python} on {platform.platform()}")
    yield Finding("packages", "ok", ", ".join(map(_version, _PACKAGES.split())))
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
    allow_http = bool(bool_from_env("AURPAY_ALLOW_HTTP"))
    url = os.environ.get("AURPAY_BASE_URL") or BASE_URL
    return require_origin(url, "AURPAY_BASE_URL", allow_http=allow_http)


def _version(package: str) -> str:
    with suppress(PackageNotFoundError):
        return f"{package} {version(package)}"
    return f"no {package}"


def check_curve() -> Finding:
    """Measure how fast signatures of invoices are verified."""
    began, count = perf_counter(), 0
    while perf_counter() - began < _SPEED_S:
        decode(_INVOICE)
        count += 1
    each_ms = 1000 * (perf_counter() - began) / count
    found = f"{BACKENDS[backend()]}, {each_ms:.2f} ms per invoice"
    advice = "libsecp256k1 is about 30 times faster: pip install 'aurpay-async[fast]'"
    return Finding("curve", "ok", found, advice if backend() == "python" else "")


def check_request_signatures() -> Finding:
    request = Request(operation="doctor", method="GET", path=_PATH, effect=Effect.READ)
    for algorithm, expected in _SIGNATURES.items():
        token = ApiToken("example-api-token", "example-api-secret", algorithm)
        if token.headers(request, _SIGNED_AT)["Signature"] != expected:
            return _broken("signatures", algorithm)
    found = f"{' and '.join(_SIGNATURES)} of a known request"
    return Finding("signatures", "ok", found)


def check_callback_signatures() -> Finding:
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
    names = [name for name in VARIABLES[:3] if os.environ.get(name)]
    try:
        auth = auth_from_env()
    except ConfigurationError as error:
        if names:
            return Finding("credentials", "problem", str(error), "Set them again.")
        advice = "Set AURPAY_API_KEY, or AURPAY_API_TOKEN and AURPAY_API_SECRET."
        return Finding("credentials", "warning", "none are set", advice)
    found, advice = f"{' and '.join(names)}, well-formed", ""
    if isinstance(auth, ApiKey):
        advice = "Aurpay recommends a token and a secret for production."
    return Finding("credentials", "ok", found, advice)


def check_callback_keys() -> Finding:
    names = (CALLBACK_TOKEN, CALLBACK_SECRET)
    given = {name: keys for name in names if (keys := secrets_from_env(name))}
    try:
        for values in given.values():
            CallbackVerifier(secrets=values)
    except ConfigurationError:
        found = "one of them is not plain ASCII"
        return Finding("callback keys", "problem", found, "Copy it again.")
    found = " and ".join(_counted(*each) for each in given.items())
    found = f"{found}, well-formed" if given else "none are set"
    return Finding("callback keys", "ok", found)


def _counted(name: str, values: Sequence[Secret]) -> str:
    return name if len(values) == 1 else f"{name} ({len(values)} values)"


def _attempt(name: str, advice: str, describe: Callable[[], str]) -> Finding:
    """Return a description as a finding, or the advice if a setting is invalid."""
    try:
        return Finding(name, "ok", describe())
    except ConfigurationError as error:
        return Finding(name, "problem", str(error), advice)


def check_reference_key() -> Finding:
    def describe() -> str:
        keys = keys_from_env()
        named = "" if keys is None else _counted("AURPAY_REFERENCE_KEY", keys)
        return f"{named}, well-formed" if named else "not set"

    return _attempt("reference key", "Generate another key.", describe)


def check_base_url() -> Finding:
    return _attempt(
        "base url", "Correct or unset it.", lambda: format_origin(configured_origin())
    )


def check_network() -> Finding:
    """Check the network name, and that the server issues invoices of that network."""
    try:
        given = os.environ.get("AURPAY_NETWORK") or NETWORKS[0]
        name = require_network(given, "AURPAY_NETWORK")
        allow_http = bool(bool_from_env("AURPAY_ALLOW_HTTP"))
        require_allow_http(allow_http, name, "AURPAY_ALLOW_HTTP")
        origin = configured_origin()
    except ConfigurationError as error:
        return Finding("network", "problem", str(error), "Correct or unset it.")
    # The network of a sandbox on this machine, or of Aurpay.
    expected = "regtest" if is_loopback(origin[1]) else NETWORKS[0]
    is_known = is_loopback(origin[1]) or format_origin(origin) == BASE_URL
    if is_known and (name == NETWORKS[0]) != (expected == NETWORKS[0]):
        advice = f"Its invoices are of {expected}: set AURPAY_NETWORK={expected}."
        return Finding("network", "warning", name, advice)
    return Finding("network", "ok", name)


def check_proxies() -> Finding:
    """Check for proxies in the environment, which the client does not use."""
    get = os.environ.get
    names = [name for name in _PROXIES if get(name) or get(name.lower())]
    if not names:
        return Finding("proxies", "ok", "none in the environment")
    advice = "Only AurpayClient(trust_env=True) uses it; this check does not."
    return Finding("proxies", "warning", f"{', '.join(names)} set", advice)


#: Timeout of each step.
_TIMEOUT_S: Final = 5

#: Up to the first limit, the difference may be the delay of the response. Above the
#: second, `CallbackVerifier` and the checks of invoices fail.
_SKEW_OK_S: Final = 10
_SKEW_WARNING_S: Final = 300
_DAY_S: Final = 86_400

#: Certificates that are renewed automatically have more days left.
_CERTIFICATE_DAYS: Final = 7

#: The id of no order.
_NO_ORDER: Final = "00000000000000000000"


async def check_server() -> AsyncIterator[Finding]:
    """Run the checks of the configured server, up to the first that cannot continue."""
    try:
        origin = configured_origin()
    except ConfigurationError:
        return  # check_base_url() reports it
    addresses = await resolve(origin)
    yield addresses
    if addresses.verdict == "problem":
        return
    findings = await probe(origin)
    for finding in findings:
        yield finding
    if len(findings) == 1:
        return
    if is_loopback(origin[1]):
        yield await check_signed_request()
    else:
        advice = "`aurpay order list` tries the credentials."
        yield Finding("signed GET", "ok", "not sent: only a sandbox gets one", advice)


async def resolve(origin: Origin) -> Finding:
    _, host, port = origin
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            found = await loop.getaddrinfo(host.strip("[]"), port)
    except OSError as error:  # a timeout among them
        problem = f"{host} has no address: {_reason(error)}"
        return Finding("dns", "problem", problem, "Check the name and the network.")
    count = len({address[4][0] for address in found})
    addresses = "one address" if count == 1 else f"{count} addresses"
    return Finding("dns", "ok", f"{host} has {addresses}")


async def probe(origin: Origin) -> list[Finding]:
    """Connect, send one HEAD request without credentials, and compare the clocks.

    The second finding is missing if the connection failed.
    """
    findings: list[Finding] = []

    class Response(aiohttp.ClientResponse):
        async def start(self, connection: Connection) -> aiohttp.ClientResponse:
            # Later it is too late: without a body, the connection is released at once.
            findings.append(_check_certificate(connection))
            return await super().start(connection)

    session = aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S), response_class=Response
    )
    tls = ssl.create_default_context()
    try:
        async with session, session.head(f"{format_origin(origin)}/", ssl=tls) as head:
            findings.append(_read_clock(origin, head.headers.get("Date", "")))
    except aiohttp.ClientConnectorCertificateError as error:
        cause = cast("ssl.SSLCertVerificationError", error.certificate_error)
        found = f"the certificate is not valid: {cause.verify_message}"
        advice = "Stop: check the clock, the proxy and the trusted certificates."
        return [Finding("connection", "problem", found, advice)]
    except (aiohttp.ClientError, OSError) as error:
        if findings:
            found = f"no HTTP response: {_reason(error)}"
            clock = Finding("clock", "problem", found, "Check AURPAY_BASE_URL.")
            return [*findings, clock]
        found = f"cannot connect to port {origin[2]}: {_reason(error)}"
        advice = "Check the network and the firewall, and whether a proxy is needed."
        return [Finding("connection", "problem", found, advice)]
    return findings


def _check_certificate(connection: Connection) -> Finding:
    transport = connection.transport
    extra = None if transport is None else transport.get_extra_info("ssl_object")
    tls = cast("ssl.SSLObject | None", extra)
    if tls is None:
        return Finding("connection", "ok", "plain HTTP on this machine")
    certificate = tls.getpeercert() or {}
    ends = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    left = (ends - SystemClock().now().timestamp()) // _DAY_S
    found = f"{tls.version()}, certificate valid for {left:,.0f} more days"
    if left < _CERTIFICATE_DAYS:
        advice = "Renew the certificate: no client connects after it has expired."
        return Finding("connection", "warning", found, advice)
    return Finding("connection", "ok", found)


def _read_clock(origin: Origin, header: str) -> Finding:
    try:
        date = parsedate_to_datetime(header)
    except ValueError:
        return Finding("clock", "warning", "the response has no Date header")
    skew = SystemClock().now() - date.replace(tzinfo=date.tzinfo or UTC)
    return compare_clocks(skew.total_seconds(), is_local=is_loopback(origin[1]))


def compare_clocks(skew_s: float, *, is_local: bool = False) -> Finding:
    """Return the finding for a clock of this machine that is `skew_s` seconds ahead.

    The clock of a sandbox on this machine (`is_local`) can be set.
    """
    if abs(skew_s) <= _SKEW_OK_S:
        return Finding("clock", "ok", "agrees with the server's")
    side = "ahead of" if skew_s > 0 else "behind"
    found = f"{span(abs(skew_s))} {side} the server's"
    advice = "Set the clock, preferably by NTP: signatures and invoices depend on it."
    if is_local:
        how = "--start and POST /_sandbox/clock set the clock of a sandbox"
        advice = f"Signatures and invoices depend on it: {how}."
    severe = abs(skew_s) > _SKEW_WARNING_S
    return Finding("clock", "problem" if severe else "warning", found, advice)


async def check_signed_request() -> Finding:
    """Send a signed request to a sandbox; other servers get none."""
    try:
        async with AurpayClient.from_env() as aurpay:
            await aurpay.get_order(_NO_ORDER)
    except NotFoundError:
        return Finding("signed GET", "ok", "accepted")
    except AuthenticationError as error:
        advice = "Set the credentials that the sandbox requires, and check the clock."
        return Finding("signed GET", "problem", str(error), advice)
    except ConfigurationError:
        return Finding("signed GET", "ok", "not sent without credentials")
    except AurpayError as error:
        return Finding("signed GET", "problem", str(error), "Is this a sandbox?")
    found = "the server returned an order that does not exist"
    return Finding("signed GET", "warning", found)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no result within {_TIMEOUT_S} seconds"
    return getattr(error, "strerror", None) or type(error).__name__


async def check_database() -> Finding:
    if secret_from_env(DATABASE) is None:
        return Finding("database", "ok", f"{DATABASE} is not set")
    try:
        from .._db.migrations import read_schema
        from .database import describe_schema, open_database
    except ImportError:
        advice = "Install it: pip install 'aurpay-async[sql]', or [postgresql]."
        return Finding("database", "problem", "SQLAlchemy is missing", advice)
    try:
        async with open_database(None) as database:
            schema = await read_schema(database)
    except AurpayError as error:
        advice = error.advice or f"Check that the database runs. Correct {DATABASE}."
        return Finding("database", "problem", Exception.__str__(error), advice)
    found, verdict = describe_schema(schema)
    return Finding("database", verdict, f"{database.dialect}: {found}")


async def run_doctor(*, output: Output = TEXT) -> int:
    with output.waiting("Checking this machine"):
        findings = [*check_local()]
    with output.waiting("Checking the server"):
        findings += [finding async for finding in check_server()]
    with output.waiting("Checking the database"):
        findings.append(await check_database())
    # No check adds a secret, but the message of an error may repeat one.
    secrets = [*known_secrets()]
    findings = [
        Finding(name, verdict, redacted(found, secrets), redacted(advice, secrets))
        for name, verdict, found, advice in findings
    ]
    healthy = all(finding.verdict != "problem" for finding in findings)
    members = [finding._asdict() for finding in findings]
    output.json("report", ok=healthy, findings=members)
    output.rows(row for finding in findings for row in _finding_rows(finding))
    return 0 if healthy else FAILED


def _finding_rows(finding: Finding) -> Iterator[Row]:
    yield Row(finding.name, finding.found, finding.verdict)
    if finding.advice:
        yield Row("", f"-> {finding.advice}")
