"""Is this request the platform's, for this shop, and of now?

What is signed is ``"{date} | {url}"`` and nothing else (source: Aurpay's "Callback
Authentication Method"). So neither the method nor the body proves anything. The first
check that fails decides the error; nothing is parsed before the signature holds but
what the signature is made of.
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

#: Chosen by name, never by forgetting: this very object.
_NO_SECRETS: Final[list[Secret]] = []


@final
class CallbackVerifier:
    """Tells the platform's callbacks from everything else.

    Example:
        >>> verifier = CallbackVerifier(secrets=["..."], reference_key="...")
        >>> event = verifier.verify(method="GET", url=url, headers=headers)

    .. versionadded:: 0.1.0
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
            secrets: Callback secrets of the dashboard; several while one replaces
                another.
            tokens: Callback tokens of the dashboard. With none, the header is not
                looked at: the signature proves more.
            reference_key: The key, or keys, of ``AurpayClient(reference_key=...)``.
                Without it, no reference is read from the URL.
            tolerance: How far ``Date`` may be from now, both ways. Aurpay documents
                none.
            clock: What tells the time.

        Raises:
            ConfigurationError: if a value cannot be used; no secret is quoted.
        """
        self._tolerance = tolerance
        self._clock = SystemClock() if clock is None else clock
        self._tokens = list[Secret]()
        self._secrets, problem = _hide(secrets)
        if not self._secrets and secrets is not _NO_SECRETS and problem is None:
            problem = "needs one at least; see also CallbackVerifier.token_only()"
        self._tokens, tokens_problem = _hide(tokens)
        keys = hide_keys(reference_key)
        # Tracebacks show local names.
        del secrets, tokens, reference_key
        _require("secrets", problem)
        _require("tokens", tokens_problem)
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
        """A verifier of the documentation's simple mode: the token, no signature.

        Whoever has seen one callback can then send any other: neither URL nor date is
        proven. Prefer secrets.

        Raises:
            ConfigurationError: if a value cannot be used; no token is quoted.
        """
        hidden, problem = _hide(tokens)
        keys = hide_keys(reference_key)
        del tokens, reference_key
        if not hidden and problem is None:
            problem = "needs one at least"
        _require("tokens", problem)
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
        """Return a verifier for the secrets that the environment holds.

        ``AURPAY_CALLBACK_SECRET`` must be set; ``AURPAY_CALLBACK_TOKEN`` and
        ``AURPAY_REFERENCE_KEY`` are used where they are. While one secret replaces
        another, pass both to the constructor.

        Raises:
            ConfigurationError: if a variable is missing or cannot be used; no secret
                is quoted.
        """
        secret, token = map(secret_from_env, (_SECRET, _TOKEN))
        if secret is None:
            raise ConfigurationError(
                f"{_SECRET} is not set; Aurpay's dashboard has it, on the page of "
                "callbacks"
            )
        for name, value in ((_SECRET, secret), (_TOKEN, token)):
            _require(name, None if value is None else _hide([value])[1])
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
        """Whether it has a key to read references with."""
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
        """Check a request.

        Args:
            method: As it came: ``GET`` or ``POST``.
            url: The whole URL as it was registered with the order: behind a proxy,
                scheme and host are not what the server sees. Path and query undecoded.
            headers: As they came; of the three that count, none may come twice.
            body: As it came; never parsed and written anew.
            kind: What the route that was called is for, if the shop has two.

        Raises:
            CallbackError: if it is not to be believed; one of the kinds of it says
                why, and `rule` names the check.
        """
        try:
            event = self.verify_head(method=method, url=url, headers=headers, kind=kind)
            # The documented GET has no body; one that has is not looked at.
            return event.with_body(body) if method == "POST" else event
        finally:
            # Tracebacks show local names: a signature that is good for some minutes
            # more, and what the query of the merchant's URL holds.
            del url, headers, body

    def verify_head(
        self, *, method: str, url: str, headers: Headers, kind: Kind | None = None
    ) -> CallbackEvent:
        """Check everything but the body, which the signature does not cover.

        For programs that read a body only once this has passed; then
        `CallbackEvent.with_body` checks it.

        Raises:
            CallbackError: as `verify`.
        """
        try:
            return self._checked(method, url, headers, kind)
        except CallbackError as caught:
            error = without_traceback(caught)
        # Tracebacks show local names, and the query may hold what the merchant hides.
        del url, headers
        raise error

    def _checked(
        self, method: str, url: str, headers: Headers, kind: Kind | None
    ) -> CallbackEvent:
        presented, problem = parse_headers(headers)
        if method not in ("GET", "POST"):
            raise CallbackError(f"the method is {shown(method)}", rule="method")
        if problem is not None:
            raise CallbackSignatureError(problem, rule="headers")
        if presented.is_unsigned:
            raise _unsigned(presented)
        _require_url(url)
        self._check_token(presented)
        index = self._check_signature(presented, url)
        signed_at = self._check_date(presented)
        token = None if self._references is None else self._references.read(url, kind)
        return CallbackEvent(
            kind=kind if token is None else token.kind,
            token=token,
            signed_at=signed_at,
            order_hint=hint_of_url(url),
            secret_index=index,
        )

    def _check_token(self, presented: CallbackHeaders) -> None:
        if not self._tokens:
            return
        if presented.token is None:
            raise _missing("Callback-Token")
        if _which(presented.token.encode(), self._tokens) is None:
            raise CallbackSignatureError(
                "Callback-Token is none of the configured tokens", rule="token"
            )

    def _check_signature(self, presented: CallbackHeaders, url: str) -> int | None:
        if not self._secrets:
            return None
        if presented.signature is None:
            raise _missing("Signature")
        if presented.date is None:
            raise _missing("Date")
        if presented.digest() is None:
            raise CallbackSignatureError(
                "Signature is not the Base64 of 32 bytes", rule="signature"
            )
        for candidate in possibly_registered(url):
            message = f"{presented.date} | {candidate}".encode("ascii")
            index = _signed_with(presented, message, self._secrets)
            if index is not None:
                return index
        raise CallbackSignatureError(
            "Signature was made with another secret, or for another URL than "
            f"{shown(url.partition('?')[0])} and its query{_duplicates(url)}; is this "
            "the URL as it was registered, scheme and host included?",
            rule="signature",
        )

    def _check_date(self, presented: CallbackHeaders) -> datetime:
        if presented.date is None:
            raise _missing("Date")
        time = presented.time()
        if time is None:
            raise CallbackStaleError(
                f"Date must be like 2024-06-17T00:00:00Z, not {shown(presented.date)}",
                rule="date",
            )
        age = (self._clock.now() - time).total_seconds()
        if abs(age) > self._tolerance.total_seconds():
            when = f"{age:.0f} s old" if age > 0 else f"{-age:.0f} s ahead"
            raise CallbackStaleError(
                f"Date is {when}, and {self._tolerance} is tolerated; is this clock "
                "right?",
                rule="age",
            )
        return time


def _which(given: bytes, secrets: Sequence[Secret]) -> int | None:
    """Which of `secrets` it is; takes as long whichever it is."""
    return _first(
        [hmac.compare_digest(given, secret.reveal().encode()) for secret in secrets]
    )


def _signed_with(
    presented: CallbackHeaders, message: bytes, secrets: Sequence[Secret]
) -> int | None:
    """Which of `secrets` signed it. Returns, so that no traceback has what is right."""
    given = presented.digest() or b""
    return _first(
        [
            hmac.compare_digest(
                given, hmac.digest(secret.reveal().encode(), message, "sha256")
            )
            for secret in secrets
        ]
    )


def _first(equal: Sequence[bool]) -> int | None:
    return equal.index(True) if True in equal else None


def _hide(values: Iterable[str | Secret]) -> tuple[list[Secret], str | None]:
    """The values as secrets, and what is wrong with one of them.

    It does not raise: a traceback that shows local names would show them.
    """
    if isinstance(values, str | bytes | Secret) or not hasattr(values, "__iter__"):
        return [], 'must be a list, such as ["..."]'
    hidden = [value if isinstance(value, Secret) else Secret(value) for value in values]
    for secret in hidden:
        if type(secret.reveal()) is not str:
            return hidden, f"must be texts, not {type(secret.reveal()).__name__}"
        if not HEADER_VALUE.fullmatch(secret.reveal()):
            return hidden, "holds an empty one, or one that is not plain ASCII"
    return hidden, None


def _require(name: str, problem: str | None) -> None:
    if problem is not None:
        raise ConfigurationError(f"{name} {problem}")


def _require_url(url: object) -> None:
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


def _unsigned(presented: CallbackHeaders) -> CallbackSignatureError:
    problem = "the request has neither Callback-Token nor Date nor Signature"
    if presented.has_api_key:
        problem += (
            ", but an Api-Key header: it is not taken for a proof, because it says "
            "nothing of this URL; does Aurpay's dashboard have a callback secret?"
        )
    return CallbackSignatureError(problem, rule="unsigned")


def _duplicates(url: str) -> str:
    names = names_after_reference(url)
    if not names:
        return ""
    return f"; parameters after aurpay_ref: {shown(', '.join(names))}"


def _missing(name: str) -> CallbackSignatureError:
    return CallbackSignatureError(
        f"there is no {name} header; does a proxy drop it?", rule="headers"
    )
