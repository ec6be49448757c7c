"""The shop's pages and their routes.

Each page works without JavaScript, which only makes it faster. The templates escape
every string; the content security policy allows only resources of this server.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

from fastapi import (
    APIRouter,
    Depends,
    FastAPI,
    HTTPException,
    Path,
    Request,  # noqa: TC002 - FastAPI looks it up
)
from fastapi.exceptions import RequestValidationError
from fastapi.responses import (
    HTMLResponse,
    RedirectResponse,
    Response,
    StreamingResponse,
)
from fastapi.security import (
    HTTPBasic,
    HTTPBasicCredentials,  # noqa: TC002 - as Request
)
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException as AnyHTTPException

from aurpay_async import AurpayError, InvalidRequestError, RequestOutcome
from aurpay_async.contrib.starlette import callback_router

from .shop import HONEY, Shop

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from aurpay_async import LightningOrder

    from .shop import Cart, State

_HERE: Final = FilePath(__file__).parent

#: No resources of other hosts, nothing inline, no frames; and the browser rejects
#: markup that is made of strings (``trusted-types``).
_HEADERS: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_templates: Final = Environment(
    loader=FileSystemLoader(_HERE / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
)


class Message(NamedTuple):
    """A page without an invoice."""

    tone: Literal["good", "bad", "wait"]
    sign: str
    heading: str
    text: str
    #: Seconds until the page reloads; 0: never.
    refresh: int = 0
    #: Show a button to try again.
    again: bool = False


_MESSAGES: Final[Mapping[State, Message]] = {
    "new": Message(
        "wait", "…", "Nothing to pay yet", "No invoice was created.", again=True
    ),
    "open": Message(
        "bad",
        "!",
        "This invoice has expired",
        "If you have paid, wait a little: this page shows it as soon as Aurpay "
        "confirms the payment. If not, please do not pay that invoice any more.",
        refresh=5,
        again=True,
    ),
    "shipped": Message("good", "✓", "Paid", "Thank you! Your honey is on its way."),
    "check": Message(
        "wait",
        "?",
        "We are checking your payment",
        "A person will review it. You need not do anything.",
        refresh=15,
    ),
}

#: In the list of orders.
_LABELS: Final[Mapping[State, tuple[str, str]]] = {
    "new": ("wait", "New"),
    "open": ("wait", "Open"),
    "shipped": ("good", "Shipped"),
    "expired": ("bad", "Expired"),
    "check": ("bad", "Needs review"),
}

#: What may exist after a failed attempt to create an order.
_FAILED: Final[Mapping[RequestOutcome, str]] = {
    RequestOutcome.NOT_SENT: "No invoice was created, so there is nothing to pay.",
    RequestOutcome.REJECTED: "No invoice was created, so there is nothing to pay.",
    RequestOutcome.UNKNOWN: "An invoice may have been created that no payer has seen. "
    "There is nothing to pay: if you try again, we search for it first.",
}


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


TheShop = Annotated[Shop, Depends(_shop)]
Reference = Annotated[str, Path(pattern="^cart-[0-9a-f]{32}$")]

router: Final = APIRouter(default_response_class=HTMLResponse)


def create_app(shop: Shop) -> FastAPI:
    """Return the web application of a shop."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with shop.running():
            yield

    app = FastAPI(lifespan=lifespan, openapi_url=None)
    app.state.shop = shop
    app.include_router(router)
    app.include_router(
        callback_router(
            shop.processor,
            public_base_url=shop.public_base_url,
            allow_http=shop.allow_http,
            network=shop.network,
        )
    )
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    return app


@router.get("/")
async def product(shop: TheShop) -> HTMLResponse:
    """Show the product, with a new cart in the button, so that it works once."""
    reference = f"cart-{secrets.token_hex(16)}"
    return _page(shop, "product.html", reference=reference)


@router.post("/carts/{reference}")
async def buy(shop: TheShop, reference: Reference) -> Response:
    """Create the order, if there is none, and redirect to it."""
    try:
        await shop.buy(reference)
    except AurpayError as error:
        message = Message(
            "bad",
            "!",
            "We cannot take payments now",
            _FAILED[error.outcome],
            again=True,
        )
        return _page(
            shop, "message.html", message=message, reference=reference, status=503
        )
    return RedirectResponse(f"/carts/{reference}", status_code=303, headers=_HEADERS)


@router.get("/carts/{reference}")
async def checkout(shop: TheShop, reference: Reference) -> HTMLResponse:
    """Show the invoice of a cart, or its result."""
    cart = await _cart(shop, reference)
    order = cart.order
    left_s = _seconds_left(order)
    if cart.state == "open" and order is not None and left_s > 0:
        return _page(
            shop,
            "checkout.html",
            cart=cart,
            order=order,
            left=left_s,
            until=f"{order.overdue_at.astimezone(UTC):%H:%M}",
            simulated=_can_simulate(shop, cart),
        )
    message = _MESSAGES.get(cart.state, _MESSAGES["open"])
    return _page(shop, "message.html", message=message, reference=reference)


@router.get("/carts/{reference}/code.svg")
async def code(shop: TheShop, reference: Reference) -> Response:
    """Return the QR code of the invoice."""
    cart = await _cart(shop, reference)
    if cart.order is None:
        raise HTTPException(404)
    svg = await asyncio.to_thread(cart.order.payment_request.qr_svg)
    return Response(svg, media_type="image/svg+xml", headers=_HEADERS)


@router.get("/carts/{reference}/events")
async def events(shop: TheShop, reference: Reference) -> StreamingResponse:
    """Stream the state of a cart as server-sent events."""
    await _cart(shop, reference)

    async def lines() -> AsyncIterator[str]:
        async for state in shop.follow(reference):
            yield f"event: state\ndata: {state}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers=_HEADERS)


@router.post("/carts/{reference}/pay")
async def simulate(shop: TheShop, reference: Reference) -> Response:
    """Pay an order of the sandbox."""
    cart = await _cart(shop, reference)
    if shop.simulate is None:
        raise HTTPException(404)
    if cart.order is not None and _can_simulate(shop, cart):
        with suppress(InvalidRequestError):  # paid or expired meanwhile
            await shop.simulate(cart.order.order_id)
    return RedirectResponse(f"/carts/{reference}", status_code=303, headers=_HEADERS)


@router.get("/orders")
async def orders(
    shop: TheShop,
    who: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="orders"))],
) -> HTMLResponse:
    """Show all orders to the merchant: any name, and the shop's password."""
    given, wanted = who.password.encode(), (shop.password or "").encode()
    if not wanted or not secrets.compare_digest(given, wanted):
        again = {"WWW-Authenticate": 'Basic realm="orders"'}
        raise HTTPException(401, headers=again)
    return _page(shop, "orders.html", orders=await shop.orders(), labels=_LABELS)


async def _cart(shop: Shop, reference: str) -> Cart:
    cart = await shop.cart(reference)
    if cart is None:
        raise HTTPException(404)
    return cart


def _seconds_left(order: LightningOrder | None) -> int:
    """Return the whole seconds for which an order is shown."""
    if order is None:
        return 0
    return int((order.overdue_at - datetime.now(UTC)).total_seconds())


def _can_simulate(shop: Shop, cart: Cart) -> bool:
    """Return whether the order is the sandbox's, with an invoice on regtest."""
    order = cart.order
    on_regtest = order is not None and order.payment_request.network == "regtest"
    return shop.simulate is not None and on_regtest


async def _refused(request: Request, error: Exception) -> Response:
    """Return an error page instead of JSON, with the headers of the error."""
    status, headers = 404, {}
    if isinstance(error, AnyHTTPException):
        status, headers = error.status_code, dict(error.headers or {})
    secret = any(name.lower() == "www-authenticate" for name in headers)
    heading = "Password required" if secret else "Page not found"
    message = Message("wait", "?", heading, "Have some honey instead.")
    page = _page(
        _shop(request), "message.html", message=message, reference="", status=status
    )
    page.headers.update(headers)
    return page


def _page(
    shop: Shop, template: str, *, status: int = 200, **names: object
) -> HTMLResponse:
    names |= {"product": HONEY, "sandbox": shop.simulate is not None}
    text = _templates.get_template(template).render(names)
    return HTMLResponse(text, status, headers=_HEADERS)
