"""Methods that create orders and payments, and methods of the account.

Aurpay's order call has no field for a reference, and its callbacks name no order. So
the callback URLs carry the reference, price and attempt id, signed with a key of the
shop's.
"""

from __future__ import annotations

from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from .._api.arguments import (
    DEFAULT_SIZE,
    NewOrder,
    require_bool,
    require_page,
    require_url,
    without_traceback,
)
from .._api.checks import is_misrouted
from .._core.http import parse_http_date
from .._core.money import parse_btc
from ..errors import InvalidRequestError, UntrustedOrderError
from ._base import BaseClient, attach_recovery_hint
from .transport import LazyModule

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from datetime import datetime
    from decimal import Decimal

    from .._api import account as _account_api
    from .._api import orders as _orders_api
    from .._api import payment_models as _payment_models
    from .._api.account import Method, Params
    from .._api.checks import InvoicePolicy
    from .._api.lightning_order import LightningOrder
    from .._api.models import Page
    from .._api.payment_models import PaymentOrder, PaymentUrl, Transaction, Withdrawal
    from .._core.http import Effect, Request, Response
    from ..bolt11 import Invoice
    from ..callbacks import _identity
    from ..callbacks._identity import ReferenceSigner
    from ..errors import AurpayError
    from . import pagination as _pagination
else:
    _account_api = LazyModule("aurpay_async._api.account")
    _orders_api = LazyModule("aurpay_async._api.orders")
    _payment_models = LazyModule("aurpay_async._api.payment_models")
    _pagination = LazyModule("aurpay_async._client.pagination")
    # It loads hashing, which few programs need.
    _identity = LazyModule("aurpay_async.callbacks._identity")


#: Up to this far behind the Date of a response, the local clock is not used.
_MAX_BEHIND: Final = timedelta(minutes=30)


def time_of_response(response: Response, now: datetime) -> datetime:
    """Return the time to use when the invoice in a response is checked.

    To a local clock that is minutes behind, each new invoice has a timestamp in the
    future, and every order would be rejected. So the ``Date`` of the response is used.
    """
    date = parse_http_date(response.headers.get("date", ""))
    is_behind = date is not None and timedelta(0) < date - now <= _MAX_BEHIND
    return date if date is not None and is_behind else now


_New = TypeVar("_New", bound=NewOrder)
_Created = TypeVar("_Created")

#: The URLs that Aurpay calls, and the kind of each callback.
_CALLBACK_FIELDS: Final[tuple[tuple[str, Literal["paid", "timeout"]], ...]] = (
    ("callback_url", "paid"),
    ("timeout_callback", "timeout"),
)


def sign_reference(order: _New, signer: ReferenceSigner | None) -> _New:
    """Add the order's reference to its callback URLs, and an attempt id if it has none.

    Raises:
        InvalidRequestError: naming the field if its URL gets too long, or has such a
            parameter already; or if there is no key to sign with.
    """
    if order.reference is None:
        return order
    if signer is None:
        raise InvalidRequestError(
            "there is no key to sign it with",
            field="reference",
            hint="create the client with reference_key=...",
        )
    attempt_id = order.attempt_id or _identity.new_attempt_id()
    changes: dict[str, Any] = {"attempt_id": attempt_id}
    for field, kind in _CALLBACK_FIELDS:
        url: str | None = getattr(order, field)
        if url is not None:
            reference = _identity.Reference(
                reference=order.reference,
                price=order.price,
                currency=order.currency,
                kind=kind,
                attempt_id=attempt_id,
            )
            # Validated again: the token makes it longer.
            changes[field] = require_url(
                signer.attach(url, reference, field=field),
                field,
                is_callback=True,
                allow_http=order.allow_http,
            )
    signed = copy(order)
    vars(signed).update(changes)
    return signed


class CreateMethods(BaseClient):
    """Create Lightning orders, payments in other coins, and checkout pages."""

    async def create_order(
        self,
        price: Decimal | int | str,
        currency: str,
        *,
        succeed_url: str | None = None,
        timeout_url: str | None = None,
        callback_url: str | None = None,
        timeout_callback: str | None = None,
        reference: str | None = None,
        confirm: bool = False,
    ) -> LightningOrder:
        """Create an order and return it with its Lightning invoice, checked.

        The request is not sent again once Aurpay may have received it: then the
        error's `outcome` is ``UNKNOWN``. (Source: "Create BLN Order".)

        Args:
            price: Fiat: ``Decimal``, ``int``, or a str such as ``"19.99"``.
            currency: Fiat: three letters such as ``"USD"``.
            succeed_url: Aurpay sends the payer's browser there after success.
            timeout_url: Aurpay sends the payer's browser there after a timeout.
            callback_url: Aurpay calls it (GET) after success.
            timeout_callback: Aurpay calls it after a timeout.
            reference: Your own id of the purchase. It is signed, with the price and an
                attempt id, and added to the callback URLs. It needs the client's
                `reference_key`.
            confirm: Read the order back before returning it, for three seconds at
                most, and compare price, currency and amount. The response to a create
                has no price: without this, a response to another request (a proxy that
                answers twice, a cache) that this client has not received before shows
                the payer another cart's invoice. A client that has found such a
                response reads every later order back. If the order cannot be read
                back, it is returned without ``"read_back"`` in its `checks`.

        Raises:
            InvalidRequestError: an argument is invalid; nothing was sent.
            TransportError: no complete response; see `outcome`.
            APIError: an error status or envelope; see `outcome`.
            InvalidResponseError: an order may exist; the response could not be read.
            UntrustedOrderError: an order exists; its invoice must not be paid.
        """
        require_bool(confirm, "confirm")
        try:
            order = NewOrder(
                price,
                currency,
                succeed_url=succeed_url,
                timeout_url=timeout_url,
                callback_url=callback_url,
                timeout_callback=timeout_callback,
                reference=reference,
                allow_http=self._allow_http,
            )
        except InvalidRequestError as error:
            raise without_traceback(error) from None
        finally:
            # Tracebacks can show locals, and a query may contain a token.
            del succeed_url, timeout_url, callback_url, timeout_callback

        created = await self._create(order)
        if confirm or self._seen.is_misrouted:
            return await self._confirm(created)
        return created

    async def _create(self, new_order: NewOrder) -> LightningOrder:
        """Create an order, under its attempt id if it has one."""
        await self._lazy_transport.open()
        return await self._send_new(
            new_order, _orders_api.build_create_order, _orders_api.parse_create_order
        )

    async def _send_new(
        self,
        new_order: _New,
        build: Callable[[_New], Request],
        parse: Callable[[Response, _New, InvoicePolicy, float], _Created],
    ) -> _Created:
        """Send a request that creates an order, and attach the order to its error."""
        order = new_order if new_order.reference is None else self._sign(new_order)

        def complete(error: AurpayError) -> None:
            error.new_order = order
            if is_misrouted(error, self._seen):
                self._seen.is_misrouted = True
            # A response that repeats an earlier order belongs to another request, so
            # its id must not be looked up for this one.
            is_repeated = error.order_id in self._seen
            if is_repeated and not isinstance(error, UntrustedOrderError):
                error.order_id = None

        return await self._send(
            build(order),
            lambda response: parse(
                response,
                order,
                self._invoice_policy,
                time_of_response(response, self._clock.now()).timestamp(),
            ),
            complete=complete,
        )

    def _sign(self, new_order: _New) -> _New:
        if self._signer is None and self._reference_keys:
            self._signer = _identity.ReferenceSigner(self._reference_keys)
        try:
            return sign_reference(new_order, self._signer)
        except InvalidRequestError as error:
            raise without_traceback(error) from None

    async def create_payment(
        self,
        price: Decimal | int | str,
        currency: str,
        *,
        chain: str,
        coin: str,
        succeed_url: str | None = None,
        timeout_url: str | None = None,
        callback_url: str | None = None,
        timeout_callback: str | None = None,
        reference: str | None = None,
        stablecoin_at_par: bool = False,
        post_callbacks: bool = False,
    ) -> PaymentOrder:
        """Create an order in a coin that you choose, and return its payment address.

        The response is compared with the request. The address is not signed, so it
        cannot be verified that it is Aurpay's. The request is not sent again once
        Aurpay may have received it. (Source: "Get Payment Info", which swaps the
        descriptions of price and currency; its example shows the right ones.)

        Args:
            price: Fiat: ``Decimal``, ``int``, or str. (``vs_price`` on the wire.)
            currency: Fiat: three letters. (``vs_currency`` on the wire.)
            chain: Such as ``"ETH"``. Aurpay decides which ones exist.
            coin: Such as ``"USDT-ERC20"``. (``currency`` on the wire.)
            succeed_url: Aurpay sends the payer's browser there after success.
            timeout_url: Aurpay sends the payer's browser there after a timeout.
            callback_url: Aurpay calls it after success.
            timeout_callback: Aurpay calls it after a timeout.
            reference: Your own id of the purchase, as for `create_order`.
            stablecoin_at_par: Count a stablecoin as one dollar.
                (``fixed_encrypt_price`` on the wire.)
            post_callbacks: Receive callbacks by POST, with the order in the body, which
                is not signed; else by GET. (``enable_post_callback`` on the wire.)

        Raises:
            InvalidRequestError: an argument is invalid; nothing was sent.
            TransportError: no complete response; see `outcome`.
            APIError: an error status or envelope; see `outcome`.
            InvalidResponseError: an order may exist; the response could not be read.
            UntrustedOrderError: an order exists; its invoice must not be paid.
        """
        try:
            payment = _payment_models.NewPayment(
                price,
                currency,
                chain=chain,
                coin=coin,
                succeed_url=succeed_url,
                timeout_url=timeout_url,
                callback_url=callback_url,
                timeout_callback=timeout_callback,
                reference=reference,
                stablecoin_at_par=stablecoin_at_par,
                post_callbacks=post_callbacks,
                allow_http=self._allow_http,
            )
        except InvalidRequestError as error:
            raise without_traceback(error) from None
        finally:
            del succeed_url, timeout_url, callback_url, timeout_callback

        await self._lazy_transport.open()
        return await self._send_new(
            payment,
            _account_api.build_create_payment,
            _account_api.parse_create_payment,
        )

    async def create_payment_url(
        self,
        price: Decimal | int | str,
        currency: str,
        *,
        succeed_url: str | None = None,
        timeout_url: str | None = None,
        callback_url: str | None = None,
        timeout_callback: str | None = None,
        reference: str | None = None,
        stablecoin_at_par: bool = False,
        post_callbacks: bool = False,
    ) -> PaymentUrl:
        """Create a checkout page on which the payer chooses the coin.

        Aurpay creates the order once the payer has chosen, and does not say which one:
        pass a `reference`, which the callbacks contain. If the response is lost, no
        payer can open the page: create another one. (Source: "Get Payment URL", which
        shows no response; shops read ``pay_url`` in it.)

        Args:
            price: Fiat: ``Decimal``, ``int``, or a str such as ``"19.99"``.
            currency: Fiat: three letters; see `list_fiat_currencies`.
            succeed_url: Aurpay sends the payer's browser there after success.
            timeout_url: Aurpay sends the payer's browser there after a timeout.
            callback_url: Aurpay calls it after success.
            timeout_callback: Aurpay calls it after a timeout.
            reference: Your own id of the purchase, as for `create_order`.
            stablecoin_at_par: Count a stablecoin as one dollar.
                (``fixed_encrypt_price`` on the wire.)
            post_callbacks: Receive callbacks by POST, with the order in the body, which
                is not signed; else by GET. (``enable_post_callback`` on the wire.)

        Raises:
            InvalidRequestError: an argument is invalid; nothing was sent.
            TransportError: no complete response.
            APIError: Aurpay rejected the request.
            InvalidResponseError: the response has no page, or the page's origin is not
                one of the allowed ones.
        """
        try:
            payment = _payment_models.NewPaymentUrl(
                price,
                currency,
                succeed_url=succeed_url,
                timeout_url=timeout_url,
                callback_url=callback_url,
                timeout_callback=timeout_callback,
                reference=reference,
                stablecoin_at_par=stablecoin_at_par,
                post_callbacks=post_callbacks,
                allow_http=self._allow_http,
            )
        except InvalidRequestError as error:
            raise without_traceback(error) from None
        finally:
            del succeed_url, timeout_url, callback_url, timeout_callback

        await self._lazy_transport.open()
        signed = self._sign(payment)
        return await self._send(
            _account_api.build_create_payment_url(signed),
            lambda response: _account_api.parse_create_payment_url(
                response, signed, self._invoice_policy
            ),
        )


class AccountMethods(BaseClient):
    """List transactions and currencies, withdraw, and call any other endpoint."""

    async def list_transactions(
        self, page: int = 1, size: int = DEFAULT_SIZE
    ) -> Page[Transaction]:
        """Return one page of the transactions.

        Nine fields of a row ("Get Transaction") and the paging are documented; the
        parameters `page` and `size` are those of the list of orders.

        Args:
            page: The page number, from 1.
            size: Rows per page, 1 to 1000.

        Raises:
            AurpayError: as `list_orders`.
        """
        number, rows = require_page(page, size)
        await self._lazy_transport.open()
        return await self._send(
            _account_api.build_list_transactions(number, rows),
            _account_api.parse_list_transactions,
        )

    def iter_transactions(
        self, *, page: int = 1, size: int = DEFAULT_SIZE
    ) -> AsyncGenerator[Transaction, None]:
        """Iterate over all transactions from a page on, as `iter_orders`.

        `tx_id` identifies a row; that it is unique is not documented.

        Args:
            page: The first page to read, from 1.
            size: Rows per page, 1 to 1000.

        Raises:
            InvalidRequestError: page or size is invalid; nothing was sent.
            AurpayError: as `list_orders`, for any of the pages.
        """
        number, rows = require_page(page, size)
        return _pagination.iterate(
            self.list_transactions, lambda row: row.tx_id, page=number, size=rows
        )

    async def list_fiat_currencies(self) -> object:
        """Return the fiat currencies for prices, as Aurpay sends them.

        Only the prose of "Get Payment URL" has the path. The response is not
        documented, so the envelope's ``data`` is returned as it is: str, int, Decimal,
        list, dict. It is not validated.

        Raises:
            TransportError: no complete response, after all attempts.
            APIError: Aurpay rejected the request.
            InvalidResponseError: the response has no envelope, or no ``data`` in it.
        """
        await self._lazy_transport.open()
        return await self._send(
            _account_api.build_list_fiat_currencies(),
            _account_api.parse_list_fiat_currencies,
        )

    async def withdraw_lightning(
        self, invoice: Invoice | str, *, amount: Decimal | int | str | None = None
    ) -> Withdrawal:
        """Pay a Lightning invoice from the account. It is sent at most once.

        The invoice is decoded and verified first: it must be of the client's network,
        not expired, not dated in the future, and contain an amount. (Source: "Create
        BLN Withdraw". Its field for an amount is not sent, because the page does not
        name its unit.)

        Args:
            invoice: A BOLT #11 invoice, as a str or decoded by ``bolt11.decode()``.
            amount: The amount that you expect, in BTC: ``Decimal``, ``int``, or a str
                such as ``"0.0002"``. It is compared to the millisatoshi, and not sent.

        Raises:
            InvoiceError: this is not a valid invoice; nothing was sent.
            InvalidRequestError: it cannot be paid now, or has another amount; nothing
                was sent.
            TransportError: no complete response; see `outcome`.
            APIError: an error status or envelope; see `outcome`.
            InvalidResponseError: it may be paid; the response could not be read.
        """
        expected = None if amount is None else parse_btc(amount)
        await self._lazy_transport.open()
        now = self._clock.now().timestamp()
        policy = self._invoice_policy
        paid = _account_api.require_payable(invoice, expected, policy, now)

        def complete(error: AurpayError) -> None:
            error.invoice = paid.invoice
            attach_recovery_hint(
                error,
                f"the invoice with payment hash {paid.invoice.payment_hash} may be "
                "paid: check list_transactions() before you try again",
            )

        return await self._send(
            _account_api.build_withdraw_lightning(paid.invoice),
            lambda response: _account_api.parse_withdraw_lightning(response, paid),
            complete=complete,
        )

    async def request(
        self,
        method: Method,
        path: str,
        *,
        params: Params | None = None,
        json: object = None,
        effect: Effect,
    ) -> object:
        """Call any endpoint with the client's credentials, retries and errors.

        Args:
            method: ``"GET"``, ``"POST"``, ``"PUT"``, ``"PATCH"`` or ``"DELETE"``.
            path: From the first slash on, percent-encoded, without a query.
            params: The query: str, int and Decimal by name, or pairs of them. They
                are encoded once, in their order, and signed as they are sent.
            json: The body: mappings, lists, str, numbers. A Decimal is written with
                its digits; a float is rejected. ``None`` is no body.
            effect: The effect of the request. ``READ`` is retried after temporary
                failures; ``CREATE`` and ``TRANSFER`` only if nothing was sent.

        Returns:
            The envelope's ``data`` as it is: str, int, Decimal, list, dict, or ``None``
            if there is none. It is not validated.

        Raises:
            InvalidRequestError: an argument is invalid; nothing was sent.
            TransportError: no complete response; see `outcome`.
            APIError: an error status or envelope; see `outcome`.
            InvalidResponseError: the response has no envelope.
        """
        await self._lazy_transport.open()
        request = _account_api.build_request(
            method, path, params=params, json=json, effect=effect
        )
        return await self._send(
            request, lambda response: _account_api.parse_request(response, effect)
        )
