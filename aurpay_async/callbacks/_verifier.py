"""Verify a callback: headers, signature, date, URL and body.

Aurpay signs ``"{date} | {url}"`` and nothing else (source: Aurpay's "Callback
Authentication Method"), so neither the method nor the body is authenticated. The first
check that fails determines the error. A request that Aurpay did not sign costs one
signature, however long, slow or broken its body is: before the signature is verified,
only the headers that it consists of are parsed. No error quotes their values, and no
frame of a traceback shows them, because they are still valid.

Parameters that are appended to a callback URL are not documented. Aurpay's plugin for
Paid Memberships Pro expects ``aurpay_order_id`` (Aurpay's id of the order), its plugin
for WooCommerce ``public_key``; the URLs that the plugins register have neither. It is
not known whether the signature covers them, so the verifier tries the URL with and
without.
"""

from __future__ import annotations

import hmac
import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, cast, final

import attrs

from .._api.wire import lenient_amount, lenient_order_id
from .._core.clock import SystemClock
from .._core.json import SchemaError, load_object
from .._core.secrets import (
    HEADER_VALUE,
    Secret,
    hide_keys,
    keys_from_env,
    raise_problem,
    secrets_from_env,
)
from .._core.urls import MAX_URL_LENGTH
from ..errors import (
    CallbackError,
    CallbackReferenceError,
    CallbackSignatureError,
    CallbackStaleError,
    ConfigurationError,
    shown,
)
from ._identity import PARAMETER, ReferenceSigner
from ._notifications import propagates, without_traceback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal
    from typing import Self

    from .._core.clock import Clock
    from .._core.secrets import Keys
    from ._identity import Kind, Reference


#: A second ``?`` results from appending without checking for a query.
_LAST = re.compile(r"[?&](?:aurpay_order_id|public_key)=[^?&]*\Z")
#: Aurpay's plugins expect one of them; at most two are removed.
_MAX_APPENDED: Final = 2


def possibly_registered(url: str) -> Iterator[str]:
    """Yield `url` as it was called, then without each appended parameter in turn."""
    yield url
    for _ in range(_MAX_APPENDED):
        match = _LAST.search(url)
        if match is None:
            return
        url = url[: match.start()]
        yield url


def names_after_reference(url: str) -> list[str]:
    """Return the names of the parameters that follow the reference token.

    The token is the last parameter of a registered URL, so these were added later.
    """
    _, found, rest = url.partition(f"{PARAMETER}=")
    parts = re.split("[?&]", rest)[1:] if found else []
    return [part.partition("=")[0] for part in parts]


#: Bytes of a body; the documented example has under 1 KiB.
MAX_BODY: Final = 64 * 1024

_APPENDED_ORDER_ID = re.compile(r"[?&]aurpay_order_id=([A-Za-z0-9_-]{1,64})(?=[?&]|\Z)")


@attrs.frozen(kw_only=True)
class OrderHint:
    """The unsigned details of a callback: of its body, or appended to its URL."""

    order_id: str | None
    status: str | None
    #: In units of the order's coin.
    amount: Decimal | None
    #: The whole body, as received.
    fields: Mapping[str, object] = attrs.field(repr=False)


def read_hint(body: bytes, token: Reference | None) -> OrderHint | None:
    """Parse a body; return ``None`` if it is empty."""
    if not body:
        return None
    if type(body) is not bytes:
        raise CallbackError("the body must be bytes, as received", rule="body")
    if len(body) > MAX_BODY:
        raise CallbackError(f"the body has over {MAX_BODY} bytes", rule="body")
    try:
        fields = load_object(body, "the body")
    except SchemaError as error:
        raise CallbackError(str(error), rule="body") from None
    if token is not None:
        _check_price(fields, token)
    status = fields.get("status")
    return OrderHint(
        order_id=lenient_order_id(fields.get("order_id")),
        status=status if isinstance(status, str) else None,
        amount=lenient_amount(fields.get("amount")),
        fields=fields,
    )


def hint_of_url(url: str) -> OrderHint | None:
    """Return the order id that Aurpay appended to the URL, if any (unsigned)."""
    *_, registered = possibly_registered(url)
    match = _APPENDED_ORDER_ID.search(url, len(registered))
    if match is None:
        return None
    return OrderHint(order_id=match[1], status=None, amount=None, fields={})


def _check_price(fields: Mapping[str, object], token: Reference) -> None:
    price, currency = fields.get("vs_price"), fields.get("vs_currency")
    if price not in (None, "") and lenient_amount(price) != token.price:
        name = "vs_price"
    elif isinstance(currency, str) and currency.upper() not in {"", token.currency}:
        name = "vs_currency"
    else:
        return
    raise CallbackReferenceError(
        f"the body names another {name} than the order was created with", rule="order"
    )


@attrs.frozen(kw_only=True)
class CallbackEvent:
    """A request that Aurpay signed for this URL, within the tolerance of its date.

    It is not a payment yet: it has to be confirmed with Aurpay, and deduplicated. The
    `CallbackProcessor` does both.
    """

    #: The kind that the URL was registered for, ``"paid"`` or ``"timeout"``; ``None``
    #: without a reference and without the caller's `kind`.
    kind: Kind | None
    #: The token in the URL: the merchant's own id, price, currency and attempt_id.
    token: Reference | None
    #: The time when Aurpay signed it: aware, UTC.
    signed_at: datetime
    #: The unsigned body, or the parameter that Aurpay appended to the URL.
    order_hint: OrderHint | None
    #: The index of the configured secret that it was signed with. ``None`` if only the
    #: token was checked.
    secret_index: int | None

    @property
    def reference(self) -> str | None:
        """The merchant's own id, as given to ``create_order``."""
        return None if self.token is None else self.token.reference

    def with_body(self, body: bytes) -> CallbackEvent:
        """Return the event with the body of a POST as its `order_hint`.

        Raises:
            CallbackError: if the body is not a JSON object, or too large.
            CallbackReferenceError: if the body names another price or currency than the
                signed URL.
        """
        try:
            hint = read_hint(body, self.token)
        except CallbackError as caught:
            error = without_traceback(caught)
        else:
            return self if hint is None else self._with_hint(hint)
        del body
        raise error

    def _with_hint(self, hint: OrderHint) -> CallbackEvent:
        if hint.order_id is None and self.order_hint is not None:
            hint = attrs.evolve(hint, order_id=self.order_hint.order_id)
        return attrs.evolve(self, order_hint=hint)


#: Headers: a mapping, or pairs, of `str` or `bytes`.
Headers = Mapping[str, str] | Iterable[tuple[str, str] | tuple[bytes, bytes]]

#: Characters of one header; the longest documented one has 44.
_MAX_HEADER: Final = 512
_DIGEST_SIZE: Final = 32

#: The headers that authenticate a callback, by their name in lower case.
_SIGNED: Final = {
    name.lower(): name for name in ("Callback-Token", "Date", "Signature")
}

_ISO_8601 = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII
)


class _SignedHeaders(dict[str, str]):
    """The headers of a callback; and ``api-key``, if present, without its value."""

    def __missing__(self, name: str) -> str:
        raise _header_error(f"there is no {name} header; does a proxy drop it?")


def parse_headers(headers: Headers) -> _SignedHeaders:
    """Return the headers of a callback."""
    try:
        if isinstance(headers, Mapping):
            headers = [*cast("Mapping[str, str]", headers).items()]
        decoded = [(_to_str(name).lower(), _to_str(value)) for name, value in headers]
    except Exception:  # noqa: BLE001 - a framework's mapping may raise anything
        raise _header_error("headers are neither a mapping nor pairs of str") from None
    found = _SignedHeaders()
    for lower, value in decoded:
        name = _SIGNED.get(lower)
        if lower == "api-key":
            found[lower] = ""
        if name is None:
            continue
        if name in found:
            raise _header_error(f"the request has two {name} headers")
        if len(value) > _MAX_HEADER or not HEADER_VALUE.fullmatch(value):
            problem = f"is empty, over {_MAX_HEADER} characters, or not plain ASCII"
            raise _header_error(f"{name} {problem}")
        found[name] = value
    return found


def _to_str(value: object) -> str:
    # Latin-1 is the encoding of HTTP; values that are not ASCII are rejected later.
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise TypeError


TOLERANCE: Final = timedelta(minutes=5)
_SECRET: Final = "AURPAY_CALLBACK_SECRET"  # noqa: S105 - a name
_TOKEN: Final = "AURPAY_CALLBACK_TOKEN"  # noqa: S105 - a name
#: Compared by identity: only `token_only` verifies without secrets.
_NO_SECRETS: Final[list[Secret]] = []


@final
class CallbackVerifier:
    """Verifies that requests are callbacks of Aurpay.

    Example:
        >>> verifier = CallbackVerifier(secrets=[secret], reference_key=key)
        >>> event = verifier.verify(method="GET", url=url, headers=headers)
        >>> event.kind, event.reference
        ('paid', 'cart-42')
    """

    def __init__(
        self,
        *,
        secrets: Iterable[str | Secret],
        tokens: Iterable[str | Secret] = (),
        reference_key: Keys | None = None,
        tolerance: timedelta = TOLERANCE,
        clock: Clock | None = None,
    ) -> None:
        """Set up the checks.

        Args:
            secrets: Callback secrets of the dashboard; several during key rotation.
            tokens: Callback tokens of the dashboard. Without any, the header is
                ignored: the signature proves more.
            reference_key: The key, or keys, of ``AurpayClient(reference_key=...)``.
                Without it, no reference is read from the URL.
            tolerance: The largest difference between ``Date`` and now, in the past or
                the future. Aurpay documents none.
            clock: The clock that ``Date`` is compared with.

        Raises:
            ConfigurationError: if an argument is invalid; no secret is quoted.
        """
        self._tolerance = tolerance
        self._clock = clock or SystemClock()
        is_token_only = secrets is _NO_SECRETS
        self._secrets, problem = _hide_values(secrets)
        if not self._secrets and not is_token_only and problem is None:
            problem = "must have at least one; see also CallbackVerifier.token_only()"
        self._tokens, tokens_problem = _hide_values(tokens)
        if not self._tokens and is_token_only and tokens_problem is None:
            tokens_problem = "must have at least one"
        keys = hide_keys(reference_key)
        # Tracebacks can show locals.
        del secrets, tokens, reference_key
        raise_problem("secrets", problem)
        raise_problem("tokens", tokens_problem)
        if type(tolerance) is not timedelta or tolerance <= timedelta(0):
            raise ConfigurationError("tolerance must be a timedelta above 0")
        self._references = None if keys is None else ReferenceSigner(keys)

    @classmethod
    def token_only(
        cls,
        *,
        tokens: Iterable[str | Secret],
        reference_key: Keys | None = None,
        tolerance: timedelta = TOLERANCE,
        clock: Clock | None = None,
    ) -> Self:
        """Return a verifier of the documented simple mode: the token, no signature.

        An attacker who has seen one callback can then forge any other: neither URL nor
        date is authenticated. Prefer secrets.

        Raises:
            ConfigurationError: if an argument is invalid; no token is quoted.
        """
        try:
            return cls(
                secrets=_NO_SECRETS,
                tokens=tokens,
                reference_key=reference_key,
                tolerance=tolerance,
                clock=clock,
            )
        finally:
            del tokens, reference_key  # tracebacks can show locals

    @classmethod
    def from_env(
        cls, *, tolerance: timedelta = TOLERANCE, clock: Clock | None = None
    ) -> Self:
        """Return a verifier with the secrets in the environment variables.

        ``AURPAY_CALLBACK_SECRET`` must be set; ``AURPAY_CALLBACK_TOKEN`` and
        ``AURPAY_REFERENCE_KEY`` are optional. During key rotation, each of them holds
        several values, separated by blanks.

        Raises:
            ConfigurationError: if a variable is missing or invalid; no secret is
                quoted.
        """
        secrets, tokens = map(secrets_from_env, (_SECRET, _TOKEN))
        if not secrets:
            raise ConfigurationError(
                f"{_SECRET} is not set; Aurpay's dashboard has it, on the page of "
                "callbacks, and `aurpay sandbox` prints that of a sandbox"
            )
        for name, values in ((_SECRET, secrets), (_TOKEN, tokens)):
            raise_problem(name, _hide_values(values)[1])
        return cls(
            secrets=secrets,
            tokens=tokens,
            reference_key=keys_from_env(),
            tolerance=tolerance,
            clock=clock,
        )

    def __repr__(self) -> str:
        return (
            f"<CallbackVerifier with {len(self._secrets)} secrets, "
            f"{len(self._tokens)} tokens, tolerance {self._tolerance}>"
        )

    @property
    def reads_references(self) -> bool:
        """True if it has a reference key."""
        return self._references is not None

    def verify(
        self,
        *,
        method: str,
        url: str,
        headers: Headers,
        body: bytes = b"",
        kind: Kind | None = None,
    ) -> CallbackEvent:
        """Verify a request.

        Args:
            method: As received: ``GET`` or ``POST``.
            url: The whole URL as it was registered with the order. Behind a proxy, the
                server receives another scheme and host. Path and query undecoded.
            headers: As received; a header of a callback may not be repeated.
            body: As received, not parsed and serialized again.
            kind: The kind of callback that the route accepts, if the shop has two.

        Raises:
            CallbackError: if the request is rejected; the subclass is the reason, and
                `rule` names the check.
        """
        try:
            event = self.verify_head(method=method, url=url, headers=headers, kind=kind)
            # The documented GET has no body; the body of a GET is ignored.
            return event.with_body(body) if method == "POST" else event
        finally:
            # Tracebacks can show locals: a signature that is still valid, and the query
            # of the merchant's URL.
            del url, headers, body

    def verify_head(
        self, *, method: str, url: str, headers: Headers, kind: Kind | None = None
    ) -> CallbackEvent:
        """Verify everything but the body, which the signature does not cover.

        For programs that read the body only if this succeeds; `CallbackEvent.with_body`
        checks it then.

        Raises:
            CallbackError: as `verify`.
        """
        try:
            return self._verify_head(method, url, headers, kind)
        except CallbackError as caught:
            error = without_traceback(caught)
        # Tracebacks can show locals, and the query may have the merchant's secrets.
        del url, headers
        raise error

    def _verify_head(
        self, method: str, url: str, received: Headers, kind: Kind | None
    ) -> CallbackEvent:
        if method not in ("GET", "POST"):
            raise CallbackError(f"the method is {shown(method)}", rule="method")
        headers = parse_headers(received)
        if headers.keys() <= {"api-key"}:
            raise _unsigned_error(headers)
        _require_whole_url(url)
        if self._tokens:
            self._check_token(headers)
        index = self._check_signature(headers, url)
        signed_at = self._check_date(headers)
        token = None if self._references is None else self._references.read(url, kind)
        return CallbackEvent(
            kind=kind if token is None else token.kind,
            token=token,
            signed_at=signed_at,
            order_hint=hint_of_url(url),
            secret_index=index,
        )

    def _check_token(self, headers: Mapping[str, str]) -> None:
        tokens = [each.reveal().encode() for each in self._tokens]
        if _index_of(headers["Callback-Token"].encode(), tokens) is None:
            raise CallbackSignatureError(
                "Callback-Token is none of the configured tokens", rule="token"
            )

    def _check_signature(self, headers: Mapping[str, str], url: str) -> int | None:
        if not self._secrets:
            return None
        encoded, date = headers["Signature"], headers["Date"]
        signature = b""
        with suppress(Base64Error):
            signature = a2b_base64(encoded, strict_mode=True)
        if len(signature) != _DIGEST_SIZE:
            raise CallbackSignatureError(
                "Signature is not the Base64 of 32 bytes", rule="signature"
            )
        for candidate in possibly_registered(url):
            message = f"{date} | {candidate}".encode("ascii")
            digests = (
                hmac.digest(secret.reveal().encode(), message, "sha256")
                for secret in self._secrets
            )
            if (index := _index_of(signature, digests)) is not None:
                return index
        names = ", ".join(names_after_reference(url))
        appended = f"; parameters after {PARAMETER}: {shown(names)}" if names else ""
        raise CallbackSignatureError(
            "Signature was created with another secret, or for another URL than "
            f"{shown(url.partition('?')[0])} and its query{appended}; "
            "is this the URL as it was registered, scheme and host included?",
            rule="signature",
        )

    def _check_date(self, headers: Mapping[str, str]) -> datetime:
        date = headers["Date"]
        signed_at = None
        if _ISO_8601.fullmatch(date):
            with suppress(ValueError, OverflowError):
                signed_at = datetime.fromisoformat(date).astimezone(UTC)
        if signed_at is None:
            raise CallbackStaleError(
                f"Date must be like 2024-06-17T00:00:00Z, not {shown(date)}",
                rule="date",
            )
        age = (self._clock.now() - signed_at).total_seconds()
        if abs(age) > self._tolerance.total_seconds():
            when = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead"
            raise CallbackStaleError(
                f"Date is {when}, and {self._tolerance} is tolerated; is this clock "
                "right?",
                rule="age",
            )
        return signed_at


def _index_of(value: bytes, candidates: Iterable[bytes]) -> int | None:
    """Return the index of `value`; takes the same time for each index.

    It does not raise: a traceback that shows locals would show the right signature.
    """
    equal = [hmac.compare_digest(value, each) for each in candidates]
    return equal.index(True) if True in equal else None


def _hide_values(values: Iterable[str | Secret]) -> tuple[list[Secret], str | None]:
    """Return the values as secrets, and the problem with one of them, if any.

    It does not raise: a traceback that shows locals would show the values.
    """
    if isinstance(values, str | bytes | Secret) or not hasattr(values, "__iter__"):
        return [], 'must be a list, such as ["..."]'
    hidden = [value if isinstance(value, Secret) else Secret(value) for value in values]
    for secret in hidden:
        if type(secret.reveal()) is not str:
            return hidden, f"must be str, not {type(secret.reveal()).__name__}"
        if not HEADER_VALUE.fullmatch(secret.reveal()):
            return hidden, "has an empty value, or one that is not plain ASCII"
    return hidden, None


def _require_whole_url(url: object) -> None:
    if (
        not isinstance(url, str)
        or len(url) > MAX_URL_LENGTH
        or not url.startswith(("https://", "http://"))
        or not HEADER_VALUE.fullmatch(url)
        or " " in url
    ):
        raise CallbackError(
            "the URL must be the whole one that was registered, undecoded: "
            f"https://..., at most {MAX_URL_LENGTH} ASCII characters",
            rule="url",
        )


def _unsigned_error(headers: Mapping[str, str]) -> CallbackSignatureError:
    problem = "the request has neither Callback-Token nor Date nor Signature"
    if "api-key" in headers:
        problem += (
            ", but an Api-Key header: it is ignored, because it does not authenticate "
            "this URL; does Aurpay's dashboard have a callback secret?"
        )
    return CallbackSignatureError(problem, rule="unsigned")


def _header_error(problem: str) -> CallbackSignatureError:
    return CallbackSignatureError(problem, rule="headers")


#: The body as received, or an ``async def`` that reads it.
Body = bytes | Callable[[], Awaitable[bytes]]


async def verify_request(  # noqa: PLR0917 - as `verify`
    verifier: CallbackVerifier,
    method: str,
    url: str,
    headers: Headers,
    body: Body,
    kind: Kind | None,
) -> CallbackEvent | CallbackError:
    """Verify a request; return the event, or the error if it is rejected.

    The body is read only for a POST with verified headers.
    """
    try:
        event = verifier._verify_head(method, url, headers, kind)  # noqa: SLF001 - one module
        # Tracebacks can show locals, and this signature is still valid.
        del url, headers
        if method != "POST":
            return event
        return event.with_body(await body() if callable(body) else body)
    except CallbackError as error:
        return without_traceback(error)
    except BaseException as error:
        if propagates(error):
            raise
        # A framework's reader raises on a timeout, broken gzip or a disconnect.
        problem = f"the body could not be read: {type(error).__name__}"
        return CallbackError(problem, rule="body")
