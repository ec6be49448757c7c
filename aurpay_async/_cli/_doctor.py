"""``aurpay doctor``: diagnose the set-up.

The user may paste the report into an issue, so it contains no key, token, secret or
query. The only server that is contacted is the configured base URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arguments import OutputOption  # noqa: TC001 - read by cyclopts
from ._doctor_local import check_local
from ._doctor_network import check_server
from ._failures import FAILED
from ._plain import redacted
from ._screen import Output, Row
from ._secrets import known_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._findings import Finding


async def run_doctor(*, output_format: OutputOption = "text") -> int:
    """Run all checks, and return 1 if one of them found a problem."""
    output = Output(output_format)
    with output.waiting("Checking this machine"):
        findings = [*check_local()]
    with output.waiting("Checking the server"):
        findings += [finding async for finding in check_server()]
    findings = [_without_secrets(finding) for finding in findings]
    healthy = all(finding.verdict != "problem" for finding in findings)
    output.json(
        "report", ok=healthy, findings=[finding._asdict() for finding in findings]
    )
    output.rows(row for finding in findings for row in _finding_rows(finding))
    return 0 if healthy else FAILED


def _without_secrets(finding: Finding) -> Finding:
    # No check adds a secret, but the message of an error may repeat one.
    secrets = [*known_secrets()]
    return finding._replace(
        found=redacted(finding.found, secrets),
        advice=redacted(finding.advice, secrets),
    )


def _finding_rows(finding: Finding) -> Iterator[Row]:
    yield Row(finding.name, finding.found, finding.verdict)
    if finding.advice:
        yield Row("", f"-> {finding.advice}")
