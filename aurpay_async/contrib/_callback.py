"""What the adapters share: where the shop is reached, and what its processor is asked.

The platform signs the URL as it was registered, byte for byte. A server behind a proxy
sees another scheme and host, and frameworks decode paths. So the URL is put together
from what the shop says of itself and from the request target as it came.
"""

from __future__ import annotations

import re
from http import HTTPMethod
from typing import TYPE_CHECKING, Final, cast, final
from urllib.parse import quote

import attrs

from .._urls import UrlError, parse_origin, require_secure
from ..callbacks import MAX_BODY
from ..errors import CallbackError, ConfigurationError, shown

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Mapping

    from ..callbacks import CallbackProcessor, Kind, Reply
    from ..callbacks._body import Body

    Headers = Iterable[tuple[bytes, bytes]] | Mapping[str, str]
    #: What an ASGI server says of a request; frameworks have types of their own for it.
    Scope = Mapping[str, object]

#: For frameworks whose routers want a list: the processor says which of them it takes.
METHODS: Final = [method.value for method in HTTPMethod]

#: Where callbacks are taken, if the shop does not say otherwise.
PATH: Final = "/aurpay/callback"

_AUTHORITY = re.compile(r"https?://[^/?#]*", re.IGNORECASE)

#: RFC 3986, 3.3: what stands in a path as it is.
_PATH_CHARACTERS: Final = "/~!$&'()*+,;=:@"


@final
class PublicAddress:
    """What precedes the request target in the URLs that the platform calls."""

    def __init__(self, public_base_url: str, *, allow_http: bool = False) -> None:
        problem = _problem(public_base_url, allow_http=allow_http)
        if problem is not None:
            raise ConfigurationError(f"public_base_url: {problem}")
        scheme, _, rest = public_base_url.removesuffix("/").partition("://")
        host, slash, path = rest.partition("/")
        self._origin = f"{scheme}://{host}"
        self._prefix = slash + path

    def url(self, target: str, mounted_at: str = "") -> str:
        """The URL as it was registered.

        Args:
            target: The request target as it came, undecoded.
            mounted_at: What the server puts before each path, in place of what a
                proxy has taken off, if it does that.
        """
        path = _origin_form(target)
        if mounted_at == self._prefix and path.startswith(f"{mounted_at}/"):
            return self._origin + path
        return self._origin + self._prefix + path

    def asgi_url(self, scope: Scope) -> str:
        """The URL as it was registered, from an ASGI scope."""
        raw = scope.get("raw_path")
        if isinstance(raw, bytes) and raw:
            # The specification has it without the query; some servers add it.
            path = raw.partition(b"?")[0].decode("latin-1")
        else:
            path = quote(cast("str", scope["path"]), safe=_PATH_CHARACTERS)
        query = scope["query_string"]
        if isinstance(query, bytes):  # a text with Django's AsyncClient
            query = query.decode("latin-1")
        # Mounting within Starlette extends `root_path`, and keeps the server's here.
        root = scope.get("app_root_path", scope.get("root_path"))
        return self.url(f"{path}?{query}" if query else path, cast("str", root or ""))


@final
class RequestBody:
    """The body of a request, read when it is called; it remembers if it was."""

    def __init__(self, chunks: AsyncIterable[bytes], length: int | None) -> None:
        """Take a body that is not read yet.

        Args:
            chunks: The body, as the framework reads it.
            length: How long the request says that it is.
        """
        self._chunks = chunks
        self._length = length
        self.is_read = False

    async def __call__(self) -> bytes:
        """Read it.

        Raises:
            CallbackError: if it is over `MAX_BODY`; then it is not read to its end.
        """
        require_size(self._length or 0)
        body = bytearray()
        async for chunk in self._chunks:
            body += chunk
            require_size(len(body))
        self.is_read = True
        return bytes(body)


@final
class CallbackRoute:
    """A route that the platform calls, whichever framework serves it."""

    def __init__(
        self,
        processor: CallbackProcessor,
        public_base_url: str,
        kind: Kind | None,
        *,
        allow_http: bool,
    ) -> None:
        require_kind(kind)
        self.name = f"aurpay_{kind or 'callback'}"
        self.address = PublicAddress(public_base_url, allow_http=allow_http)
        self._processor = processor
        self._kind: Kind | None = kind

    async def answer(
        self, *, method: str, url: str, headers: Headers, body: Body
    ) -> Reply:
        """Return what to answer; as `CallbackProcessor.process`."""
        dispatched = self._processor.process(
            method=method, url=url, headers=headers, body=body, kind=self._kind
        )
        # Tracebacks show local names, and these are good for some minutes more.
        del url, headers
        return await dispatched

    async def answer_asgi(self, scope: Scope, chunks: AsyncIterable[bytes]) -> Reply:
        """Return what to answer to an ASGI request whose body comes in `chunks`."""
        body = RequestBody(chunks, asgi_length(scope))
        reply = await self.answer(
            method=cast("str", scope["method"]),
            url=self.address.asgi_url(scope),
            headers=asgi_headers(scope),
            body=body,
        )
        closing = asgi_closing(scope, body)
        return attrs.evolve(reply, headers={**reply.headers, **closing})


def require_kind(kind: object) -> None:
    """Refuse what no callback will ever be."""
    if kind not in {None, "paid", "timeout"}:
        raise ConfigurationError(
            f'kind must be "paid", "timeout" or None, not {shown(kind)}'
        )


def require_size(length: int) -> None:
    """Reject a body that is too large.

    Raises:
        CallbackError: with the rule that is answered with 413.
    """
    if length > MAX_BODY:
        problem = f"the body has over {MAX_BODY} bytes"
        raise CallbackError(problem, rule="too_large")


def asgi_headers(scope: Scope) -> Iterable[tuple[bytes, bytes]]:
    """The headers as they came, those that came twice included."""
    return cast("Iterable[tuple[bytes, bytes]]", scope["headers"])


def asgi_length(scope: Scope) -> int | None:
    """How long a request says that its body is."""
    for name, value in asgi_headers(scope):
        if name == b"content-length" and value.isdigit():
            return int(value[:20])  # longer ones are not the shorter for it
    return None


def asgi_closing(scope: Scope, body: RequestBody) -> Mapping[str, str]:
    """Return the header that ends the connection if a body was left unread.

    RFC 9110, 15.5.14, of a body that is too large: "The server MAY terminate the
    request, if the protocol version in use allows it; otherwise, the server MAY close
    the connection." Above HTTP/1, there is no header for it.
    """
    names = {name for name, _ in asgi_headers(scope)}
    has_body = bool(asgi_length(scope)) or b"transfer-encoding" in names
    if not has_body or body.is_read or scope["http_version"] not in {"1.0", "1.1"}:
        return {}
    return {"Connection": "close"}


def _origin_form(target: str) -> str:
    # RFC 9112, 3.2.2: "a server MUST accept the absolute-form in requests".
    match = _AUTHORITY.match(target)
    path = target if match is None else target[match.end() :]
    return path if path.startswith("/") else f"/{path}"


def _problem(public_base_url: object, *, allow_http: bool) -> str | None:
    if not isinstance(public_base_url, str):
        return (
            "must be the address that the platform calls, like https://shop.example, "
            f"not {shown(public_base_url)}"
        )
    try:
        require_secure(parse_origin(public_base_url), allow_http=allow_http)
    except UrlError as error:
        return str(error)
    if "?" in public_base_url or "#" in public_base_url:
        return "must end before the path of the route: without query and fragment"
    if not public_base_url.isascii():
        return "has other characters than ASCII in its path, percent-encode them"
    return None
