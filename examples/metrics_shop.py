"""A FastAPI shop that serves its metrics at the path /metrics of its own port."""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI, Response
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from aurpay_async import AurpayClient
from aurpay_async.orders import OrderStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aurpay_async.orders import Change

set_meter_provider(MeterProvider([PrometheusMetricReader()]))

aurpay = AurpayClient.from_env()
store = OrderStore.from_env(aurpay)


async def fulfil(change: Change, _: AsyncConnection) -> None:
    """Fulfil what is newly paid."""
    if change.newly_paid:
        logging.getLogger("shop").warning("fulfil %s", change.reference)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Reconcile while the application runs."""
    async with aurpay, store, store.running(on_change=fulfil):
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/metrics")
def metrics() -> Response:
    """Return the metrics of this process."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
