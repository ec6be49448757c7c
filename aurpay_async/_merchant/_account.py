"""Account methods: transactions, withdrawals, and any other endpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._models._arguments import DEFAULT_SIZE, require_page
from .._money import parse_btc
from ..errors import AurpayError
from ._calling import BaseClient, attach_recovery_hint

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from decimal import Decimal

    from .._http import Effect
    from .._models._transactions import Transaction, Withdrawal
    from .._paging import Page
    from .._protocol._raw import Method, Params
    from ..bolt11 import Invoice


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
        from .._protocol import build_list_transactions, parse_list_transactions

        request = build_list_transactions(number, rows)
        return await self._send(request, parse_list_transactions)

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
        from .._paging import iterate

        return iterate(
            self.list_transactions, lambda row: row.tx_id, page=number, size=rows
        )

    async def list_fiat_currencies(self) -> object:
        """Return the fiat currencies for prices, as Aurpay sends them.

        The path stands in the prose of "Get Payment URL". The response is not
        documented, so the envelope's ``data`` is returned as it is: str, int, Decimal,
        list, dict. It is not validated.

        Raises:
            TransportError: no complete response, after all attempts.
            APIError: Aurpay rejected the request.
            InvalidResponseError: the response has no envelope, or no ``data`` in it.
        """
        await self._lazy_transport.open()
        from .._protocol import build_list_fiat_currencies, parse_list_fiat_currencies

        request = build_list_fiat_currencies()
        return await self._send(request, parse_list_fiat_currencies)

    async def withdraw_lightning(
        self, invoice: Invoice | str, *, amount: Decimal | int | str | None = None
    ) -> Withdrawal:
        """Pay a Lightning invoice from the account. It is sent at most once.

        The invoice is decoded and verified first: it must be of the client's network,
        not expired, not dated in the future, and contain an amount. (Source: "Create
        BLN Withdraw", which also has a field for the amount, without its unit.)

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
        from .._protocol import (
            build_withdraw_lightning,
            parse_withdraw_lightning,
            require_payable,
        )

        now = self._clock.now().timestamp()
        paid = require_payable(invoice, expected, self._invoice_policy, now)
        try:
            return await self._send(
                build_withdraw_lightning(paid.invoice),
                lambda response: parse_withdraw_lightning(response, paid),
            )
        except AurpayError as error:
            error.invoice = paid.invoice
            attach_recovery_hint(
                error,
                f"the invoice with payment hash {paid.invoice.payment_hash} may be "
                "paid: check list_transactions() before you try again",
            )
            raise

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
        from .._protocol import build_request, parse_request

        request = build_request(method, path, params=params, json=json, effect=effect)
        return await self._send(
            request, lambda response: parse_request(response, effect)
        )
