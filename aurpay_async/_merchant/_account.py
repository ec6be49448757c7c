"""The account: money in and out, and what this package has no method for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._models._arguments import DEFAULT_SIZE, require_page
from .._money import parse_btc
from ..errors import AurpayError
from ._calling import Calling, advise

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from decimal import Decimal

    from .._http import Effect
    from .._models._transactions import Transaction, Withdrawal
    from .._paging import Page
    from .._protocol._raw import Method, Params
    from ..bolt11 import Invoice


class AccountMethods(Calling):
    """Transactions, withdrawals, the fiat list, and any other endpoint."""

    async def list_transactions(
        self, page: int = 1, size: int = DEFAULT_SIZE
    ) -> Page[Transaction]:
        """One page of the transactions.

        Nine fields of a row ("Get Transaction") are documented, and that they come in
        pages; that `page` and `size` ask for them is read from the list of orders.

        Args:
            page: From 1.
            size: Rows, 1 to 1000.

        Raises:
            AurpayError: as `list_orders`.
        """
        number, rows = require_page(page, size)
        await self._pool.open()
        from .._protocol import build_list_transactions, parse_list_transactions

        request = build_list_transactions(number, rows)
        return await self._call(request, parse_list_transactions)

    def iter_transactions(
        self, *, page: int = 1, size: int = DEFAULT_SIZE
    ) -> AsyncGenerator[Transaction, None]:
        """All transactions from a page on, as `iter_orders`.

        They are told apart by their `tx_id`; that it is one row's is not documented.

        Args:
            page: The page to begin with, from 1.
            size: Rows for each page, 1 to 1000.

        Raises:
            InvalidRequestError: there can be no such page; nothing was sent.
            AurpayError: as `list_orders`, for any of the pages.
        """
        number, rows = require_page(page, size)
        from .._paging import iterate

        return iterate(
            self.list_transactions, lambda row: row.tx_id, page=number, size=rows
        )

    async def list_fiat_currencies(self) -> object:
        """The fiat currencies that prices may be in, as the platform gives them.

        The path stands in the prose of "Get Payment URL". What comes is documented
        nowhere, so it is the envelope's ``data`` as it came: texts, ints, Decimals,
        lists, dicts. From outside: unchecked.

        Raises:
            TransportError: no usable answer, after some attempts.
            APIError: the platform said no.
            InvalidResponseError: there is no envelope, or no ``data`` in it.
        """
        await self._pool.open()
        from .._protocol import build_list_fiat_currencies, parse_list_fiat_currencies

        request = build_list_fiat_currencies()
        return await self._call(request, parse_list_fiat_currencies)

    async def withdraw_lightning(
        self, invoice: Invoice | str, *, amount: Decimal | int | str | None = None
    ) -> Withdrawal:
        """Have a Lightning invoice paid. It moves money, and is sent once at most.

        The invoice is decoded and verified first: it must be of the client's network,
        not expired, not from the future, and have its amount in it. (Source: "Create
        BLN Withdraw", which has a field for an amount beside it, and not its unit.)

        Args:
            invoice: The text of a BOLT #11 invoice; ``bolt11.decode()`` shows what is
                in it.
            amount: In BTC, what you think that it asks for: ``Decimal``, ``int``, or
                text such as ``"0.0002"``. It is compared to the millisatoshi, and not
                sent.

        Raises:
            InvoiceError: this is no invoice, or breaks a rule; nothing was sent.
            InvalidRequestError: it cannot be paid now, or asks for another amount;
                nothing was sent.
            TransportError: no usable answer; `outcome` says whether it may be paid.
            APIError: the platform said no; `outcome` says whether it may be paid.
            InvalidResponseError: it may be paid; the answer could not be read.
        """
        expected = None if amount is None else parse_btc(amount)
        await self._pool.open()
        from .._protocol import (
            build_withdraw_lightning,
            parse_withdraw_lightning,
            require_payable,
        )

        now = self._clock.now().timestamp()
        paid = require_payable(invoice, expected, self._invoice_policy, now)
        try:
            return await self._call(
                build_withdraw_lightning(paid.invoice),
                lambda answer: parse_withdraw_lightning(answer, paid),
            )
        except AurpayError as error:
            error.invoice = paid.invoice
            advise(
                error,
                f"the invoice with payment hash {paid.invoice.payment_hash} may be "
                "paid: look with list_transactions() before you try again",
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
        """Call any endpoint: with the client's credentials, retries and errors.

        Args:
            method: ``"GET"``, ``"POST"``, ``"PUT"``, ``"PATCH"`` or ``"DELETE"``.
            path: From the first slash on, percent-encoded, without a query.
            params: The query: texts, ints and Decimals by name, or pairs of them. They
                are encoded once, in their order, and signed as they are sent.
            json: The body: mappings, lists, texts, numbers. A Decimal is written with
                its digits; a float is refused. ``None`` is no body.
            effect: What a repetition would do. ``READ`` is tried again after failures
                that may pass; ``CREATE`` and ``MONEY`` only if nothing was sent.

        Returns:
            The envelope's ``data`` as it came: texts, ints, Decimals, lists, dicts.
            ``None`` if there is none. From outside: unchecked.

        Raises:
            InvalidRequestError: an argument was refused; nothing was sent.
            TransportError: no usable answer; `outcome` says whether it may be done.
            APIError: the platform said no; `outcome` says whether it may be done.
            InvalidResponseError: the answer has no envelope.
        """
        await self._pool.open()
        from .._protocol import build_request, parse_request

        request = build_request(method, path, params=params, json=json, effect=effect)
        return await self._call(request, lambda answer: parse_request(answer, effect))
