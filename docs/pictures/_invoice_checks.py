"""Draw the checks of a new order, in their order, and what each of them compares.

`tests/test_pictures.py` changes one input after the other and compares the checks that
fail.
"""

from __future__ import annotations

from typing import Final

from ._svg import arrow, box, picture, text

WIDTH: Final = 760
_TOP: Final = 108
_STEP: Final = 32

#: What the checks read, and an explanation.
INPUTS: Final = {
    "invoice": "decoded",
    "answer": "Aurpay's order",
    "your client": "what it knows",
    "clock": "now",
    "order detail": "second request",
}

#: The checks in the order in which they run, with the inputs that each one reads.
CHECKS: Final = {
    "invoice": ("invoice",),
    "signature": ("invoice",),
    "new": ("answer", "your client"),
    "payment_hash": ("invoice", "your client"),
    "network": ("invoice", "your client"),
    "amount": ("invoice", "answer"),
    "payment_secret": ("invoice", "answer"),
    "timestamp": ("invoice", "clock"),
    "expiry": ("invoice", "clock"),
    "payee": ("invoice", "your client"),
    "pay_url": ("answer", "your client"),
    "read_back": ("answer", "your client", "order detail"),
}


def invoice_checks() -> str:
    """Return the SVG file."""
    bottom = _TOP + _STEP * len(CHECKS)
    return picture(
        WIDTH,
        bottom + 96,
        "The checks of a new order",
        " ".join(f"{one} reads: {', '.join(read)}." for one, read in CHECKS.items()),
        [
            text(
                24, 36, "The checks, in their order, and what each compares", "strong"
            ),
            *(part for one in INPUTS for part in _heading(one)),
            *(part for place in enumerate(CHECKS) for part in _check(*place)),
            arrow(f"M104 {bottom - 4}L104 {bottom + 24}"),
            box(24, bottom + 26, 330, 48, "good"),
            text(40, bottom + 46, "all passed: create_order returns the order"),
            text(40, bottom + 64, "show it to the payer", "small dim"),
            box(374, bottom + 26, 362, 48, "hot"),
            text(390, bottom + 46, "one failed: UntrustedOrderError, UNKNOWN"),
            text(390, bottom + 64, "an order exists; show nothing", "small dim"),
        ],
    )


def _column(name: str) -> float:
    return 258 + 108 * [*INPUTS].index(name)


def _heading(name: str) -> list[str]:
    x = _column(name)
    return [
        text(x, 72, name, "small strong middle"),
        text(x, 88, INPUTS[name], "small dim middle"),
    ]


def _check(row: int, name: str) -> list[str]:
    y = _TOP + _STEP * row
    reads = [_column(one) for one in CHECKS[name]]
    return [
        box(24, y - 4, 160, 26, "open" if name == "read_back" else "box"),
        text(104, y + 13, name, "code strong middle"),
        f'<path class="bare" d="M184 {y + 9}L{WIDTH - 24} {y + 9}" opacity=".35"/>',
        f'<path class="bare" d="M{reads[0]:g} {y + 9}L{reads[-1]:g} {y + 9}"/>',
        *(f'<circle class="head" cx="{x:g}" cy="{y + 9}" r="6"/>' for x in reads),
    ]
