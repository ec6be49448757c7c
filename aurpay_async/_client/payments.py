"""Create methods: none is sent again once Aurpay may have received it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._models import NewOrder, without_traceback
from .._models._arguments import require_bool
from .._references import with_reference
from .._skew import time_of_response
from ..errors import InvalidRequestError
from ._read_back import ReadBackMethods

if TYPE_CHECKING:
    from decimal import Decimal

    from .._http import Response
    from .._lightning_order import LightningOrder
    from .._models._payments import PaymentOrder, PaymentUrl


class CreateMethods(ReadBackMethods):
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

    async def _create(
        self, order: NewOrder, *, attempt_id: str | None = None
    ) -> LightningOrder:
        """Create `order` with a stored attempt id, or with a new one."""
        await self._lazy_transport.open()
        if order.reference is not None:
            order = await with_reference(order, self._reference_keys, attempt_id)
        from .._protocol import build_create_order, parse_create_order

        def parse(response: Response) -> LightningOrder:
            now = time_of_response(response, self._clock.now()).timestamp()
            created = parse_create_order(response, order, self._invoice_policy, now)
            payment_hash = created.payment_request.payment_hash
            self._seen.add(created.order_id, payment_hash)
            return created

        return await self._send(
            build_create_order(order),
            parse,
            lambda error: self._attach_request(error, order),
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

        await self._lazy_transport.open()
        if reference is not None:
            payment = await with_reference(payment, self._reference_keys)
        from .._protocol import build_create_payment, parse_create_payment

        def parse(response: Response) -> PaymentOrder:
            now = self._clock.now().timestamp()
            created = parse_create_payment(response, payment, self._invoice_policy, now)
            self._seen.add(created.order_id)
            return created

        return await self._send(
            build_create_payment(payment),
            parse,
            lambda error: self._attach_request(error, payment),
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

        await self._lazy_transport.open()
        if reference is not None:
            payment = await with_reference(payment, self._reference_keys)
        from .._protocol import build_create_payment_url, parse_create_payment_url

        return await self._send(
            build_create_payment_url(payment),
            lambda response: parse_create_payment_url(
                response, payment, self._invoice_policy
            ),
        )
