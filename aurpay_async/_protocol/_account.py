"""Exchange of username and password for an API key ("Get API Key")."""

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

#: Longer than any e-mail address or passphrase.
_MAX_CREDENTIAL: Final = 1024


def build_obtain_key(username: Secret, password: Secret) -> Request:
    """Build ``POST /api/plugin/key/aurpay``.

    The documentation has two spellings of the path; this is the one on the page of the
    endpoint.

    Raises:
        InvalidRequestError: naming ``username`` or ``password``, without quoting it.
    """
    for field, secret in (("username", username), ("password", password)):
        problem = _credential_problem(secret)
        if problem is not None:
            raise InvalidRequestError(problem, field=field)
    return post(
        "obtain_key",
        "/api/plugin/key/aurpay",
        Effect.READ,
        _credentials_json(username, password),
    )


def _credential_problem(secret: Secret) -> str | None:
    if type(secret.reveal()) is not str:
        return f"must be a str, not {type(secret.reveal()).__name__}"
    if not 0 < len(secret.reveal()) <= _MAX_CREDENTIAL:
        return f"must have 1 to {_MAX_CREDENTIAL} characters"
    return None


def _credentials_json(username: Secret, password: Secret) -> bytes:
    # Do not bind the revealed values to variables: tracebacks can show locals.
    return dump_json(
        {"username": username.reveal(), "password": password.reveal()}
    ).encode("ascii")


def parse_obtain_key(response: Response) -> ApiKey:
    """Return the key in a response.

    The caller has to remove the frames from its errors: they show the response.

    Raises:
        APIError: if Aurpay rejected the request.
        InvalidResponseError: if the response does not have the documented shape.
    """
    token = read_envelope(response, Effect.READ).get("access_token")
    if not isinstance(token, str) or not HEADER_VALUE.fullmatch(token):
        problem = "data.access_token is not a string that can be a header"
        raise invalid(response, problem, "data.access_token")
    return ApiKey(token)
