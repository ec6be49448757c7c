"""Calls that create something to be paid. None is sent twice if it may have arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._models import NewOrder, without_traceback
from .._models._arguments import require_bool
from .._references import with_reference
from .._skew import time_of_response
from ..errors import InvalidRequestError
from ._read_back import ReadingBack

if TYPE_CHECKING:
    from decimal import Decimal

    from .._http import Response
    from .._lightning_order import LightningOrder
    from .._models._payments import PaymentOrder, PaymentUrl


class CreatingMethods(ReadingBack):
    """Orders over Lightning, payments in other coins, and checkout pages."""

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
        """Create an order and get its Lightning invoice, checked against it.

        If it fails after it may have arrived, it is not sent again: the error's
        `outcome` says whether an order may exist. (Source: "Create BLN Order".)

        Args:
            price: Fiat: ``Decimal``, ``int``, or text such as ``"19.99"``.
            currency: Fiat: three letters such as ``"USD"``.
            succeed_url: Where the payer's browser goes after success.
            timeout_url: Where it goes after a timeout.
            callback_url: What the platform calls (GET) after success.
            timeout_callback: What it calls after a timeout.
            reference: Your own name for what is paid. It is signed, with the price and
                an attempt_id, and added to the URLs that the platform calls. It needs
                the client's `reference_key`.
            confirm: Read the order back before it is given, for three seconds at most,
                and compare price, currency and amount. The answer to a create holds no
                price: without this, an answer that belongs to another request (a proxy
                that answers twice, a cache) and that this client has not received
                before shows the payer another cart's invoice. A client that has found
                such an answer reads every later order back. Where the order cannot be
                read back, it is given without ``"read_back"`` in its `checks`.

        Raises:
            InvalidRequestError: an argument was refused; nothing was sent.
            TransportError: no usable answer; `outcome` says whether to look.
            APIError: the platform said no; `outcome` says whether to look.
            InvalidResponseError: an order may exist; the answer could not be read.
            UntrustedOrderError: an order exists; what came must not be paid.
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
            # Tracebacks show local names, and a query may hold a token.
            del succeed_url, timeout_url, callback_url, timeout_callback

        made = await self._create(order)
        if confirm or self._seen.is_misrouted:
            return await self._confirm(made)
        return made

    async def _create(
        self, order: NewOrder, *, attempt_id: str | None = None
    ) -> LightningOrder:
        """Create `order` under a stored attempt_id, or under a new one."""
        await self._pool.open()
        if order.reference is not None:
            order = await with_reference(order, self._reference_keys, attempt_id)
        from .._protocol import build_create_order, parse_create_order

        def parse(response: Response) -> LightningOrder:
            now = time_of_response(response, self._clock.now()).timestamp()
            made = parse_create_order(response, order, self._invoice_policy, now)
            self._seen.add(made.order_id, made.payment_request.payment_hash)
            return made

        return await self._call(
            build_create_order(order),
            parse,
            lambda error: self._blame(error, order),
        )

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
        """Create an order in a coin that you choose, and get the address to pay to.

        The answer is compared with what was asked for. That the address is the
        platform's cannot be verified: nothing signs it. If it fails after it may have
        arrived, it is not sent again. (Source: "Get Payment Info", whose descriptions
        of price and currency are swapped; its example shows what they are.)

        Args:
            price: Fiat: ``Decimal``, ``int``, or text. (``vs_price`` on the wire.)
            currency: Fiat: three letters. (``vs_currency`` on the wire.)
            chain: Such as ``"ETH"``. An open set: the platform decides.
            coin: Such as ``"USDT-ERC20"``. (``currency`` on the wire.)
            succeed_url: Where the payer's browser goes after success.
            timeout_url: Where it goes after a timeout.
            callback_url: What the platform calls after success.
            timeout_callback: What it calls after a timeout.
            reference: Your own name for what is paid, as for `create_order`.
            stablecoin_at_par: Count a stablecoin as one dollar.
                (``fixed_encrypt_price`` on the wire.)
            post_callbacks: Have callbacks by POST, with the order in the body, which
                nothing signs; else by GET. (``enable_post_callback`` on the wire.)

        Raises:
            InvalidRequestError: an argument was refused; nothing was sent.
            TransportError: no usable answer; `outcome` says whether to look.
            APIError: the platform said no; `outcome` says whether to look.
            InvalidResponseError: an order may exist; the answer could not be read.
            UntrustedOrderError: an order exists; what came must not be paid.
        """
        from .._models._payments import NewPayment

        try:
            payment = NewPayment(
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

        await self._pool.open()
        if reference is not None:
            payment = await with_reference(payment, self._reference_keys)
        from .._protocol import build_create_payment, parse_create_payment

        def parse(response: Response) -> PaymentOrder:
            now = self._clock.now().timestamp()
            made = parse_create_payment(response, payment, self._invoice_policy, now)
            self._seen.add(made.order_id)
            return made

        return await self._call(
            build_create_payment(payment),
            parse,
            lambda error: self._blame(error, payment),
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
        """Get a checkout page on which the payer chooses the coin.

        The order exists once the payer has chosen, and nothing says which it is: give
        a `reference`, which the callbacks bring back. A page whose address was lost on
        the way is a page that nobody opens: ask for another one. (Source: "Get Payment
        URL", which shows no answer; shops read ``pay_url`` in it.)

        Args:
            price: Fiat: ``Decimal``, ``int``, or text such as ``"19.99"``.
            currency: Fiat: three letters; see `list_fiat_currencies`.
            succeed_url: Where the payer's browser goes after success.
            timeout_url: Where it goes after a timeout.
            callback_url: What the platform calls after success.
            timeout_callback: What it calls after a timeout.
            reference: Your own name for what is paid, as for `create_order`.
            stablecoin_at_par: Count a stablecoin as one dollar.
                (``fixed_encrypt_price`` on the wire.)
            post_callbacks: Have callbacks by POST, with the order in the body, which
                nothing signs; else by GET. (``enable_post_callback`` on the wire.)

        Raises:
            InvalidRequestError: an argument was refused; nothing was sent.
            TransportError: no usable answer.
            APIError: the platform said no.
            InvalidResponseError: there is no page in the answer, or it lies elsewhere
                than checkout pages do.
        """
        from .._models._payments import NewPaymentUrl

        try:
            payment = NewPaymentUrl(
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

        await self._pool.open()
        if reference is not None:
            payment = await with_reference(payment, self._reference_keys)
        from .._protocol import build_create_payment_url, parse_create_payment_url

        return await self._call(
            build_create_payment_url(payment),
            lambda answer: parse_create_payment_url(
                answer, payment, self._invoice_policy
            ),
        )
