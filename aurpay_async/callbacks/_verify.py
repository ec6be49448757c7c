"""Verify that a request is a callback of Aurpay: for this merchant, URL and time.

Aurpay signs ``"{date} | {url}"`` and nothing else (source: Aurpay's "Callback
Authentication Method"), so neither the method nor the body is authenticated. The first
check that fails determines the error. Before the signature is verified, only the
headers that it consists of are parsed.
"""

from __future__ import annotations

import hmac
from datetime import timedelta
from typing import TYPE_CHECKING, Final, final

from .._auth import HEADER_VALUE
from .._clock import SystemClock
from .._keys import hide_keys, keys_from_env
from .._secrets import Secret, secret_from_env
from .._urls import MAX_URL_LENGTH
from ..errors import (
    CallbackError,
    CallbackSignatureError,
    CallbackStaleError,
    ConfigurationError,
    shown,
)
from ._appended import names_after_reference, possibly_registered
from ._event import CallbackEvent
from ._failures import without_traceback
from ._headers import parse_headers
from ._hint import hint_of_url
from ._reference import ReferenceSigner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from typing import Self

    from .._clock import Clock
    from .._keys import Keys
    from ._headers import CallbackHeaders, Headers
    from ._replay import Kind

TOLERANCE: Final = timedelta(minutes=5)

_SECRET: Final = "AURPAY_CALLBACK_SECRET"  # noqa: S105 - a name
_TOKEN: Final = "AURPAY_CALLBACK_TOKEN"  # noqa: S105 - a name

#: Compared by identity: only `token_only` verifies without secrets.
_NO_SECRETS: Final[list[Secret]] = []


@final
class CallbackVerifier:
    """Verifies that requests are callbacks of Aurpay.

    Example:
        >>> verifier = CallbackVerifier(secrets=["..."], reference_key="...")
        >>> event = verifier.verify(method="GET", url=url, headers=headers)
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
        self._clock = SystemClock() if clock is None else clock
        self._tokens = list[Secret]()
        self._secrets, problem = _hide_values(secrets)
        if not self._secrets and secrets is not _NO_SECRETS and problem is None:
            problem = "must have at least one; see also CallbackVerifier.token_only()"
        self._tokens, tokens_problem = _hide_values(tokens)
        keys = hide_keys(reference_key)
        # Tracebacks can show locals.
        del secrets, tokens, reference_key
        _raise_problem("secrets", problem)
        _raise_problem("tokens", tokens_problem)
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
        hidden, problem = _hide_values(tokens)
        keys = hide_keys(reference_key)
        del tokens, reference_key
        if not hidden and problem is None:
            problem = "must have at least one"
        _raise_problem("tokens", problem)
        return cls(
            secrets=_NO_SECRETS,
            tokens=hidden,
            reference_key=keys,
            tolerance=tolerance,
            clock=clock,
        )

    @classmethod
    def from_env(
        cls, *, tolerance: timedelta = TOLERANCE, clock: Clock | None = None
    ) -> Self:
        """Return a verifier with the secrets in the environment variables.

        ``AURPAY_CALLBACK_SECRET`` must be set; ``AURPAY_CALLBACK_TOKEN`` and
        ``AURPAY_REFERENCE_KEY`` are optional. During key rotation, pass both secrets to
        the constructor instead.

        Raises:
            ConfigurationError: if a variable is missing or invalid; no secret is
                quoted.
        """
        secret, token = map(secret_from_env, (_SECRET, _TOKEN))
        if secret is None:
            raise ConfigurationError(
                f"{_SECRET} is not set; Aurpay's dashboard has it, on the page of "
                "callbacks"
            )
        for name, value in ((_SECRET, secret), (_TOKEN, token)):
            _raise_problem(name, None if value is None else _hide_values([value])[1])
        return cls(
            secrets=[secret],
            tokens=() if token is None else [token],
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
        headers, problem = parse_headers(received)
        if method not in ("GET", "POST"):
            raise CallbackError(f"the method is {shown(method)}", rule="method")
        if problem is not None:
            raise CallbackSignatureError(problem, rule="headers")
        if headers.is_unsigned:
            raise _unsigned_error(headers)
        _require_whole_url(url)
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

    def _check_token(self, headers: CallbackHeaders) -> None:
        if not self._tokens:
            return
        if headers.token is None:
            raise _missing_header("Callback-Token")
        if _index_of_token(headers.token.encode(), self._tokens) is None:
            raise CallbackSignatureError(
                "Callback-Token is none of the configured tokens", rule="token"
            )

    def _check_signature(self, headers: CallbackHeaders, url: str) -> int | None:
        if not self._secrets:
            return None
        if headers.signature is None:
            raise _missing_header("Signature")
        if headers.date is None:
            raise _missing_header("Date")
        signature = headers.decode_signature()
        if signature is None:
            raise CallbackSignatureError(
                "Signature is not the Base64 of 32 bytes", rule="signature"
            )
        for candidate in possibly_registered(url):
            message = f"{headers.date} | {candidate}".encode("ascii")
            index = _index_of_signer(signature, message, self._secrets)
            if index is not None:
                return index
        raise CallbackSignatureError(
            "Signature was made with another secret, or for another URL than "
            f"{shown(url.partition('?')[0])} and its query{_describe_appended(url)}; "
            "is this the URL as it was registered, scheme and host included?",
            rule="signature",
        )

    def _check_date(self, headers: CallbackHeaders) -> datetime:
        if headers.date is None:
            raise _missing_header("Date")
        signed_at = headers.parse_date()
        if signed_at is None:
            raise CallbackStaleError(
                f"Date must be like 2024-06-17T00:00:00Z, not {shown(headers.date)}",
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


def _index_of_token(token: bytes, tokens: Sequence[Secret]) -> int | None:
    """Return the index of `token`; takes the same time for each index."""
    equal = [hmac.compare_digest(token, each.reveal().encode()) for each in tokens]
    return equal.index(True) if True in equal else None


def _index_of_signer(
    signature: bytes, message: bytes, secrets: Sequence[Secret]
) -> int | None:
    """Return the index of the secret that signed `message`.

    It does not raise: a traceback that shows locals would show the right signature.
    """
    equal = [
        hmac.compare_digest(
            signature, hmac.digest(secret.reveal().encode(), message, "sha256")
        )
        for secret in secrets
    ]
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


def _raise_problem(name: str, problem: str | None) -> None:
    if problem is not None:
        raise ConfigurationError(f"{name} {problem}")


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


def _unsigned_error(headers: CallbackHeaders) -> CallbackSignatureError:
    problem = "the request has neither Callback-Token nor Date nor Signature"
    if headers.has_api_key:
        problem += (
            ", but an Api-Key header: it is ignored, because it does not authenticate "
            "this URL; does Aurpay's dashboard have a callback secret?"
        )
    return CallbackSignatureError(problem, rule="unsigned")


def _describe_appended(url: str) -> str:
    names = names_after_reference(url)
    if not names:
        return ""
    return f"; parameters after aurpay_ref: {shown(', '.join(names))}"


def _missing_header(name: str) -> CallbackSignatureError:
    return CallbackSignatureError(
        f"there is no {name} header; does a proxy drop it?", rule="headers"
    )
