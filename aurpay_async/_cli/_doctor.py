"""``aurpay doctor``: is everything here that a payment needs?

A report to be read, and to be pasted into an issue: no key, token, secret or query is
in it. It speaks to the configured base URL, and to nobody else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._doctor_local import look_here
from ._doctor_network import look_there
from ._failures import FAILED
from ._plain import redacted
from ._screen import Row
from ._secrets import known_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._findings import Finding
    from ._screen import Screen


async def examine(screen: Screen) -> int:
    """Look at everything; it is a no if there is a problem."""
    with screen.waiting("Looking at what is here"):
        findings = [*look_here()]
    with screen.waiting("Looking at the server"):
        findings += [finding async for finding in look_there()]
    findings = [_redacted(finding) for finding in findings]
    healthy = all(finding.verdict != "problem" for finding in findings)
    screen.record(
        "report", ok=healthy, findings=[finding._asdict() for finding in findings]
    )
    screen.rows(row for finding in findings for row in _rows(finding))
    return 0 if healthy else FAILED


def _redacted(finding: Finding) -> Finding:
    # None of them is put in; whatever an error or a version repeats is taken out.
    secrets = [*known_secrets()]
    return finding._replace(
        found=redacted(finding.found, secrets),
        advice=redacted(finding.advice, secrets),
    )


def _rows(finding: Finding) -> Iterator[Row]:
    yield Row(finding.name, finding.found, finding.verdict)
    if finding.advice:
        yield Row("", f"-> {finding.advice}")
