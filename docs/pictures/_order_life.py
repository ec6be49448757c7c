"""Draw the statuses of an order, their transitions, and its two time limits.

Colours and transitions are those of the code: a transition that the state machine
rejects raises an exception.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aurpay_async import OrderStatus

from ._svg import arrow, box, picture, text

WIDTH: Final = 760
HEIGHT: Final = 420
_BOX: Final = (140, 52)


class _Place(NamedTuple):
    x: int
    y: int
    meaning: str


_PLACES: Final = {
    "PENDING": _Place(24, 120, "not paid yet"),
    "SUCCESS": _Place(310, 44, "paid"),
    "OVERDUE": _Place(310, 196, "unpaid so far"),
    "REFUNDED": _Place(596, 44, "refunded"),
    "RESOLVED": _Place(596, 196, "accepted"),
}

#: From, to, the path of the arrow, its label, and the label's position.
_TRANSITIONS: Final = (
    ("PENDING", "SUCCESS", "M164 134L304 78", "paid", (206, 92)),
    ("PENDING", "OVERDUE", "M164 158L304 214", "30 minutes", (192, 206)),
    ("OVERDUE", "SUCCESS", "M380 196L380 102", "paid late", (390, 152)),
    ("SUCCESS", "REFUNDED", "M450 70L590 70", "refund", (498, 62)),
    ("OVERDUE", "RESOLVED", "M450 222L590 222", "wrong amount", (478, 214)),
    ("RESOLVED", "REFUNDED", "M666 196L666 102", "refund", (676, 152)),
)


def order_life() -> str:
    """Return the SVG file."""
    return picture(
        WIDTH,
        HEIGHT,
        "The statuses of an order",
        "PENDING becomes SUCCESS when it is paid, or OVERDUE after 30 minutes. OVERDUE "
        "is not final: paid late, it becomes SUCCESS; a wrong amount that the merchant "
        "accepts makes it RESOLVED. SUCCESS and RESOLVED can be REFUNDED, the only "
        "final status. An order is shown for 30 minutes, its invoice can be paid for "
        "up to a day.",
        [
            *(part for name, place in _PLACES.items() for part in _status(name, place)),
            *(part for transition in _TRANSITIONS for part in _transition(*transition)),
            *_unknown(),
            *_time(),
        ],
    )


def _status(name: str, place: _Place) -> list[str]:
    status = OrderStatus(name)
    width, height = _BOX
    middle = place.x + width / 2
    parts = [box(place.x, place.y, width, height, "good" if status.is_paid else "box")]
    if status.is_final:
        parts.append(box(place.x + 4, place.y + 4, width - 8, height - 8, "bare"))
    return [
        *parts,
        text(middle, place.y + 23, name, "strong middle"),
        text(middle, place.y + 40, place.meaning, "small dim middle"),
    ]


def _transition(
    start: str, end: str, path: str, label: str, where: tuple[int, int]
) -> list[str]:
    if not OrderStatus(start).can_become(OrderStatus(end)):
        message = f"{start} cannot become {end}"
        raise ValueError(message)
    return [arrow(path), text(*where, label, "small dim")]


def _unknown() -> list[str]:
    """Draw the statuses without a documented meaning."""
    return [
        box(24, 274, 712, 36, "open"),
        text(40, 297, "PARTIAL, TERMINATED, any other", "strong small"),
        text(
            720,
            297,
            "stored as a string, neither paid nor unpaid; needs review",
            "small dim end",
        ),
    ]


def _time() -> list[str]:
    """Draw the time limits of the order and of its invoice."""
    return [
        box(24, 340, 180, 24, "hot"),
        text(34, 356, "shown to the payer", "small"),
        text(204, 384, "30 min: overdue_at", "small dim middle"),
        box(204, 340, 532, 24, "open"),
        text(214, 356, "can still be paid: poll it", "small dim"),
        text(736, 384, "up to a day: expires_at", "small dim end"),
        text(24, 384, "created", "small dim"),
        arrow("M24 396L736 396"),
    ]
