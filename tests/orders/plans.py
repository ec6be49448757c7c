"""Recognise plans of SQLite and PostgreSQL that read a whole table."""

from __future__ import annotations

import re

#: The rows that a statement may read and not use.
FEW = 1_000


def reads_a_table(statement: str, plan: str) -> bool:
    """Return true if a plan reads all rows of a table.

    SQLite also calls the walk through an index in its order a SCAN. Such a walk ends
    at the LIMIT of the statement, unless a condition skips rows or a sort needs all of
    them first.
    """
    if "Seq Scan on aurpay_" in plan:
        return True
    removed = sum(int(n) for n in re.findall(r"Rows Removed by Filter: (\d+)", plan))
    if removed > FEW:
        return True
    scans = [line for line in plan.splitlines() if line.startswith("SCAN aurpay_")]
    ends_at_limit = (
        "LIMIT" in statement and "WHERE" not in statement and "TEMP B-TREE" not in plan
    )
    is_walk = all(re.search(r" USING (COVERING )?INDEX ", scan) for scan in scans)
    return bool(scans) and not (ends_at_limit and is_walk)
