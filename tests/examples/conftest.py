"""Select the examples to run, and provide their databases."""

from __future__ import annotations

import os

from ..support.postgresql import postgresql, postgresql_url

__all__ = ["postgresql", "postgresql_url"]

#: These need aiogram, Celery, taskiq, arq and gunicorn: ``nox -s examples``. aiogram
#: takes six seconds to be imported, and allows no aiohttp and no pydantic that is newer
#: than what it knows.
collect_ignore = (
    []
    if os.environ.get("AURPAY_TEST_EXAMPLES")
    else ["test_bot.py", "test_processes.py", "test_queues.py", "test_serving.py"]
)
