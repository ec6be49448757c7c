"""Create orders in taskiq; each worker process reconciles."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

from taskiq import (
    Context,
    InMemoryBroker,
    TaskiqDepends,
    TaskiqEvents,
    TaskiqMessage,
    TaskiqResult,
    TaskiqState,
)
from taskiq.middlewares import SmartRetryMiddleware

from aurpay_async import AurpayClient
from aurpay_async.orders import OrderStore, may_retry

from .shop_fulfilment import changed


class JobRetries(SmartRetryMiddleware):
    """Retry what may succeed later."""

    async def on_error(
        self,
        message: TaskiqMessage,
        result: TaskiqResult[Any],
        exception: BaseException,
    ) -> None:
        """Run the job again, unless a person has to act."""
        if may_retry(exception):
            await super().on_error(message, result, exception)


# For production: the broker of taskiq-redis, taskiq-aio-pika or another package.
broker = InMemoryBroker().with_middlewares(
    JobRetries(
        default_retry_label=True,
        default_retry_count=12,
        default_delay=2,
        use_delay_exponent=True,
        max_delay_exponent=300,
    )
)


@broker.on_event(TaskiqEvents.WORKER_STARTUP)
async def start(state: TaskiqState) -> None:
    """Open the client and the store of this process, and begin to reconcile."""
    state.stack = stack = AsyncExitStack()
    aurpay = await stack.enter_async_context(AurpayClient.from_env())
    store = OrderStore.from_env(aurpay)
    state.store = await stack.enter_async_context(store)
    await stack.enter_async_context(store.running(on_change=changed))


@broker.on_event(TaskiqEvents.WORKER_SHUTDOWN)
async def stop(state: TaskiqState) -> None:
    """Close them again."""
    await state.stack.aclose()


@broker.task
async def open_order(
    reference: str, price: str, context: Annotated[Context, TaskiqDepends()]
) -> None:
    """Create the order of a cart, or find the one that it has."""
    await context.state.store.get_or_create(reference, price, "USD")
