"""Databases for the tests of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ..support.postgresql import pooler_url, postgresql, postgresql_url

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["pooler_url", "postgresql", "postgresql_url"]


@pytest.fixture(params=["sqlite", "postgresql+asyncpg", "postgresql+psycopg"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of each driver in turn."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/callbacks.db"
    url: str = request.getfixturevalue("postgresql_url")
    return url.replace("postgresql+asyncpg", request.param)
