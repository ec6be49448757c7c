"""A worker of gunicorn that cancels requests which are still open after 30 seconds."""

from __future__ import annotations

from typing import Any

from uvicorn_worker import UvicornWorker


class ShopWorker(UvicornWorker):  # type: ignore[misc]  # it has no types
    """An ASGI worker; without a limit it waits for streams until gunicorn kills it."""

    CONFIG_KWARGS: dict[str, Any] = {  # noqa: RUF012 - as in the base class
        **UvicornWorker.CONFIG_KWARGS,
        "timeout_graceful_shutdown": 30,
    }
