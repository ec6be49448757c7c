"""A shop that serves its metrics to Prometheus: `python -m examples.metrics`."""

from __future__ import annotations

import asyncio
import os
from tempfile import TemporaryDirectory

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import start_http_server

from aurpay_async.orders import OrderStore
from aurpay_async.sandbox import Sandbox

URL = "https://shop.example/aurpay/callback"


async def main() -> None:
    """Serve the metrics of this process, and sell."""
    set_meter_provider(MeterProvider([PrometheusMetricReader()]))
    port = int(os.environ.get("METRICS_PORT", "9464"))
    server, _ = start_http_server(port, addr="127.0.0.1")
    print(f"http://127.0.0.1:{server.server_port}/metrics", flush=True)  # noqa: T201
    with TemporaryDirectory() as folder:
        await sell(f"sqlite+aiosqlite:///{folder}/orders.db")


async def sell(database: str) -> None:
    """Create an order in the sandbox, and run reconciliation."""
    async with (
        Sandbox() as sandbox,
        sandbox.client(reference_key="sandbox-reference-key") as aurpay,
        OrderStore(aurpay, database) as store,
    ):
        await store.get_or_create(
            "cart-42", "20.00", "USD", callback_url=URL, timeout_callback=URL
        )
        await store.run(every=10)


if __name__ == "__main__":
    asyncio.run(main())
