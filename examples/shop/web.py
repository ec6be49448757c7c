"""The shop's pages: what a browser sees, and what it may do there.

Each of them is whole without JavaScript, which only makes them quicker. The templates
escape every text; the policy lets nothing in but what this server sends.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import segno
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

#: Nothing from elsewhere, nothing inline, in nobody's frame; and the browser itself
#: refuses to make markup of a text (``trusted-types``).
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


class Over(NamedTuple):
    """What a page says when there is nothing to pay on it."""

    tone: Literal["good", "bad", "wait"]
    sign: str
    heading: str
    text: str
    #: Seconds until it looks again; 0: it is not going to change.
    refresh: int = 0
    #: Whether it offers to try again.
    again: bool = False


_OVER: Final[Mapping[State, Over]] = {
    "new": Over(
        "wait", "…", "Nothing to pay yet", "The invoice was not made.", again=True
    ),
    "open": Over(
        "bad",
        "!",
        "Its time is over",
        "If you have paid, wait a little, and this page will say so. If not, please "
        "do not pay that invoice any more.",
        refresh=5,
        again=True,
    ),
    "delivered": Over("good", "✓", "Paid", "Thank you! Your honey is on its way."),
    "check": Over(
        "wait",
        "?",
        "We are looking at it",
        "This payment needs a human. There is nothing for you to do.",
        refresh=15,
    ),
}

#: In the list of orders.
_LABELS: Final[Mapping[State, tuple[str, str]]] = {
    "new": ("wait", "New"),
    "open": ("wait", "Open"),
    "delivered": ("good", "Delivered"),
    "expired": ("bad", "Expired"),
    "check": ("bad", "Look at it"),
}

#: What there was to pay, and what may exist, when no order came.
_FAILED: Final[Mapping[RequestOutcome, str]] = {
    RequestOutcome.NOT_SENT: "Nothing was made, so there is nothing to pay.",
    RequestOutcome.REJECTED: "Nothing was made, so there is nothing to pay.",
    RequestOutcome.UNKNOWN: "An invoice may have been created that no payer has seen. "
    "There is "
    "nothing to pay: if you try again, we look for it first.",
}


def _shop(request: Request) -> Shop:
    shop: Shop = request.app.state.shop
    return shop


TheShop = Annotated[Shop, Depends(_shop)]
Reference = Annotated[str, Path(pattern="^cart-[0-9a-f]{32}$")]

router: Final = APIRouter(default_response_class=HTMLResponse)


def create_app(shop: Shop) -> FastAPI:
    """The web side of a shop."""

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
        )
    )
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _refused)
    return app


@router.get("/")
async def product(shop: TheShop) -> HTMLResponse:
    """What there is to buy. The button has its cart already: it works once."""
    reference = f"cart-{secrets.token_hex(16)}"
    return _page(shop, "product.html", reference=reference)


@router.post("/carts/{reference}")
async def buy(shop: TheShop, reference: Reference) -> Response:
    """Make the order, if there is none, and show it."""
    try:
        await shop.buy(reference)
    except AurpayError as error:
        over = Over(
            "bad",
            "!",
            "We cannot take payments now",
            _FAILED[error.outcome],
            again=True,
        )
        return _page(shop, "over.html", over=over, reference=reference, status=503)
    return RedirectResponse(f"/carts/{reference}", status_code=303, headers=_HEADERS)


@router.get("/carts/{reference}")
async def checkout(shop: TheShop, reference: Reference) -> HTMLResponse:
    """How to pay, or what came of it."""
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
    over = _OVER.get(cart.state, _OVER["open"])
    return _page(shop, "over.html", over=over, reference=reference)


@router.get("/carts/{reference}/code.svg")
async def code(shop: TheShop, reference: Reference) -> Response:
    """What wallets scan."""
    cart = await _cart(shop, reference)
    if cart.order is None:
        raise HTTPException(404)
    svg = await asyncio.to_thread(_draw, str(cart.order.payment_request))
    return Response(svg, media_type="image/svg+xml", headers=_HEADERS)


@router.get("/carts/{reference}/events")
async def events(shop: TheShop, reference: Reference) -> StreamingResponse:
    """The state of a cart as it changes: server-sent events."""
    await _cart(shop, reference)

    async def lines() -> AsyncIterator[str]:
        async for state in shop.follow(reference):
            yield f"event: state\ndata: {state}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream", headers=_HEADERS)


@router.post("/carts/{reference}/pay")
async def simulate(shop: TheShop, reference: Reference) -> Response:
    """Pay an order of the sandbox, and of nobody else."""
    cart = await _cart(shop, reference)
    if shop.simulate is None:
        raise HTTPException(404)
    if cart.order is not None and _can_simulate(shop, cart):
        with suppress(InvalidRequestError):  # it was paid, or is over
            await shop.simulate(cart.order.order_id)
    return RedirectResponse(f"/carts/{reference}", status_code=303, headers=_HEADERS)


@router.get("/orders")
async def orders(
    shop: TheShop,
    who: Annotated[HTTPBasicCredentials, Depends(HTTPBasic(realm="orders"))],
) -> HTMLResponse:
    """All orders, for who runs the shop: any name, and the shop's password."""
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
    """How long to show an order; a payer with a second left has none."""
    if order is None:
        return 0
    return int((order.overdue_at - datetime.now(UTC)).total_seconds())


def _can_simulate(shop: Shop, cart: Cart) -> bool:
    """Only with the sandbox, and only where the invoice is nobody's money."""
    order = cart.order
    on_regtest = order is not None and order.payment_request.network == "regtest"
    return shop.simulate is not None and on_regtest


async def _refused(request: Request, error: Exception) -> Response:
    """A page instead of JSON, with the headers of the answer."""
    status, headers = 404, {}
    if isinstance(error, AnyHTTPException):
        status, headers = error.status_code, dict(error.headers or {})
    secret = any(name.lower() == "www-authenticate" for name in headers)
    heading = "Who are you?" if secret else "There is no such page"
    over = Over("wait", "?", heading, "Have some honey instead.")
    page = _page(_shop(request), "over.html", over=over, reference="", status=status)
    page.headers.update(headers)
    return page


def _page(
    shop: Shop, template: str, *, status: int = 200, **names: object
) -> HTMLResponse:
    names |= {"product": HONEY, "sandbox": shop.simulate is not None}
    text = _templates.get_template(template).render(names)
    return HTMLResponse(text, status, headers=_HEADERS)


def _draw(invoice: str) -> bytes:
    """A QR code: dark on light also by night, in capitals as BOLT #11 recommends.

    Slow (tens of milliseconds), so not on the loop.
    """
    svg = BytesIO()
    drawn = segno.make(f"lightning:{invoice}".upper(), error="l", micro=False)
    drawn.save(svg, kind="svg", border=4, light="#fff", omitsize=True, xmldecl=False)
    return svg.getvalue()
