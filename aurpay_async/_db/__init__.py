"""The database of the order store and the inbox: tables, connections, migrations."""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("sqlalchemy") is None:
    raise ModuleNotFoundError(
        "this needs SQLAlchemy: pip install 'aurpay-async[sql]'", name="sqlalchemy"
    )
