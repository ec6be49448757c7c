"""Draw the states of an attempt and all transitions of the state machine.

Each arrow names its transitions. Together they have to be exactly those that the order
store permits: one that is missing, and one that the store rejects, raise an exception.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from aurpay_async.orders import AttemptState

from ._svg import arrow, box, picture, text

WIDTH: Final = 760
HEIGHT: Final = 540
_BOX: Final = (132, 46)


class _Place(NamedTuple):
    x: int
    y: int
    meaning: str
    kind: str = "box"


_PLACES: Final = {
    "creating": _Place(42, 108, "is being sent"),
    "unknown": _Place(42, 222, "may exist"),
    "candidates_found": _Place(42, 294, "orders that match"),
    "not_found": _Place(42, 366, "search has ended"),
    "payable": _Place(232, 108, "shown to the payer", "hot"),
    "withheld": _Place(232, 194, "never shown"),
    "rejected": _Place(232, 280, "no order"),
    "overdue": _Place(416, 108, "no longer shown"),
    "expired": _Place(416, 194, "invoice expired"),
    "payment_reported": _Place(232, 454, "needs review"),
    "paid": _Place(612, 108, "pays its reference", "good"),
    "duplicate": _Place(612, 254, "to be refunded", "good"),
    "refunded": _Place(612, 400, "final"),
}

_UNKNOWN: Final = "unknown candidates_found not_found"
_CREATED: Final = "payable withheld rejected"
_UNPAID: Final = f"creating {_UNKNOWN} {_CREATED} overdue expired payment_reported"
_UNREPORTED: Final = f"creating {_UNKNOWN} withheld rejected overdue expired"


class _Arrow(NamedTuple):
    sources: str
    targets: str
    path: str
    kind: str = "arrow"


_ARROWS: Final = (
    _Arrow("creating", _CREATED, "M174 131L216 131"),
    _Arrow("creating", "unknown", "M108 154L108 216"),
    _Arrow(_UNKNOWN, _CREATED, "M184 300L216 300"),
    _Arrow("unknown", "candidates_found", "M108 268L108 294", "arrow both"),
    _Arrow("candidates_found", "unknown", ""),
    _Arrow("candidates_found", "not_found", "M108 340L108 366", "arrow both"),
    _Arrow("not_found", "candidates_found", ""),
    _Arrow("unknown", "not_found", "M42 246C24 280 24 356 42 388", "arrow both"),
    _Arrow("not_found", "unknown", ""),
    _Arrow("rejected", "withheld", "M298 280L298 242"),
    _Arrow("payable", "overdue", "M364 124L414 124"),
    _Arrow("payable", "expired", "M364 142L414 202"),
    _Arrow("withheld", "expired", "M364 217L414 217"),
    _Arrow("overdue", "expired", "M482 154L482 194", "arrow both"),
    _Arrow("expired", "overdue", ""),
    _Arrow(_UNREPORTED, "payment_reported", "M174 477L230 477"),
    _Arrow("payment_reported", "payable", "M350 454C412 400 398 180 366 148"),
    _Arrow("payment_reported", "withheld", "M330 454C392 400 392 260 366 228"),
    _Arrow("payment_reported", "not_found", "M240 454L176 406"),
    _Arrow(_UNPAID, "paid", "M566 131L610 131"),
    _Arrow(_UNPAID, "duplicate", "M566 277L610 277"),
    _Arrow(_UNPAID, "refunded", "M566 423L610 423"),
    _Arrow("paid", "refunded", "M734 154C752 230 752 330 734 398"),
    _Arrow("duplicate", "refunded", "M678 300L678 398"),
)


def attempt_life() -> str:
    """Return the SVG file."""
    _require_complete()
    return picture(
        WIDTH,
        HEIGHT,
        "The states of an attempt",
        _describe(),
        [
            text(
                24, 36, "One attempt: one call that may have created an order", "strong"
            ),
            box(24, 60, 542, 456, "open"),
            text(
                36,
                82,
                "not paid; from each of these a payment leads to the right",
                "small dim",
            ),
            box(30, 204, 154, 234, "open"),
            text(48, 430, "outcome unknown", "small dim"),
            box(218, 90, 162, 246, "open"),
            text(228, 104, "outcome known", "small dim"),
            text(40, 472, "from each of these", "small dim"),
            text(40, 488, "but payable:", "small dim"),
            text(40, 504, "a callback reports it", "small dim"),
            *(part for name, place in _PLACES.items() for part in _state(name, place)),
            *(arrow(one.path, one.kind) for one in _ARROWS if one.path),
        ],
    )


def _state(name: str, place: _Place) -> list[str]:
    width, height = _BOX
    middle = place.x + width / 2
    return [
        box(place.x, place.y, width, height, place.kind),
        text(middle, place.y + 20, AttemptState(name), "code strong middle"),
        text(middle, place.y + 36, place.meaning, "small dim middle"),
    ]


def _require_complete() -> None:
    permitted = {
        (str(one), str(other))
        for one in AttemptState
        for other in AttemptState
        if one.can_become(other)
    }
    drawn = {
        (source, target)
        for one in _ARROWS
        for source in one.sources.split()
        for target in one.targets.split()
    }
    if drawn != permitted:
        message = f"not drawn: {permitted - drawn}; not permitted: {drawn - permitted}"
        raise ValueError(message)


def _describe() -> str:
    """Return the transitions of each state as sentences."""
    return " ".join(
        f"{one} becomes {', '.join(following)}."
        if (following := [str(o) for o in AttemptState if one.can_become(o)])
        else f"{one} is final."
        for one in AttemptState
    )
