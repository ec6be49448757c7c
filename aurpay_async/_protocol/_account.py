"""The key for who can name the account ("Get API Key")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._auth import HEADER_VALUE, ApiKey
from .._converter import dump_json
from .._envelope import invalid, read_envelope
from .._http import Effect
from ..errors import InvalidRequestError
from ._common import post

if TYPE_CHECKING:
    from .._http import Request, Response
    from .._secrets import Secret

#: More than any e-mail address or passphrase has.
_MAX_LENGTH: Final = 1024


def build_obtain_key(username: Secret, password: Secret) -> Request:
    """``POST /api/plugin/key/aurpay``: of two spellings, that of the call's own page.

    Raises:
        InvalidRequestError: naming ``username`` or ``password``, without quoting it.
    """
    for field, secret in (("username", username), ("password", password)):
        problem = _problem(secret)
        if problem is not None:
            raise InvalidRequestError(problem, field=field)
    return post(
        "obtain_key",
        "/api/plugin/key/aurpay",
        Effect.READ,
        _body(username, password),
    )


def _problem(secret: Secret) -> str | None:
    if type(secret.reveal()) is not str:
        return f"must be a text, not {type(secret.reveal()).__name__}"
    if not 0 < len(secret.reveal()) <= _MAX_LENGTH:
        return f"must have 1 to {_MAX_LENGTH} characters"
    return None


def _body(username: Secret, password: Secret) -> bytes:
    # The two get no name of their own: tracebacks show local names.
    return dump_json(
        {"username": username.reveal(), "password": password.reveal()}
    ).encode("ascii")


def parse_obtain_key(response: Response) -> ApiKey:
    """The key in an answer.

    Whoever calls this has to take the frames off its errors: they show the answer.

    Raises:
        APIError: if the platform said no.
        InvalidResponseError: if the answer is not the documented shape.
    """
    token = read_envelope(response, Effect.READ).get("access_token")
    if not isinstance(token, str) or not HEADER_VALUE.fullmatch(token):
        problem = "data.access_token is no text that can be a header"
        raise invalid(response, problem, "data.access_token")
    return ApiKey(token)
