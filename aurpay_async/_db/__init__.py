"""The database of this package: schema, connections, migrations.

Shared by the order store and by the store of the inbox.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("sqlalchemy") is None:
    raise ImportError("this needs SQLAlchemy: pip install 'aurpay-async[sql]'")
