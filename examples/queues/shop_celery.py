"""Create orders in Celery, and reconcile on the schedule of its beat."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from celery import Celery
from celery.signals import worker_process_shutdown

from aurpay_async import AurpayClient
from aurpay_async.orders import OrderStore, may_retry

from .shop_fulfilment import changed

if TYPE_CHECKING:
    from celery import Task

app = Celery("shop", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,  # a job leaves the queue when it has ended
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    beat_schedule={"reconcile": {"task": "shop.reconcile", "schedule": 60}},
)

runner = asyncio.Runner()
aurpay = AurpayClient.from_env()
store = OrderStore.from_env(aurpay)


@app.task(name="shop.open_order", bind=True, max_retries=12)
def open_order(task: Task, reference: str, price: str) -> None:
    """Create the order of a cart, or find the one that it has."""
    try:
        runner.run(store.get_or_create(reference, price, "USD"))
    except Exception as error:
        if not may_retry(error):
            raise
        pause = min(2**task.request.retries, 300)
        raise task.retry(exc=error, countdown=pause) from error


@app.task(name="shop.reconcile")
def reconcile() -> None:
    """Find the payments with a lost callback, and fulfil them."""
    runner.run(reconcile_all())


async def reconcile_all() -> None:
    """Reconcile until nothing more is due."""
    while (await store.reconcile(on_change=changed)).more:
        pass


@worker_process_shutdown.connect
def close(**_: object) -> None:
    """Close the connections of this process."""
    runner.run(store.aclose())
    runner.run(aurpay.aclose())
    runner.close()
