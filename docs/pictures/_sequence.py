"""Draw the messages of a create with a lost answer, and those of a callback.

`tests/test_pictures.py` runs both in the sandbox and compares their steps.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from ._svg import arrow, box, picture, text

WIDTH: Final = 760
_TOP: Final = 96
_STEP: Final = 38
_MARGIN: Final = 92


class Step(NamedTuple):
    """A message between two participants, or a note at one of them."""

    source: int
    target: int
    content: str
    #: "lost" for a message that does not arrive; else the kind of the box of a note.
    kind: str = ""


LOST_ANSWER_PARTICIPANTS: Final = ("your shop", "order store", "database", "Aurpay")
LOST_ANSWER: Final = (
    Step(0, 1, 'get_or_create("cart-42")'),
    Step(1, 2, "attempt 1: creating"),
    Step(1, 3, "POST: create an order"),
    Step(3, 3, "order A exists"),
    Step(3, 1, "the answer is lost", "lost"),
    Step(1, 2, "attempt 1: unknown"),
    Step(1, 0, "error: UNKNOWN"),
    Step(0, 1, 'get_or_create("cart-42")'),
    Step(1, 3, "GET: the list of orders"),
    Step(1, 2, "attempt 1: candidates_found"),
    Step(1, 2, "attempt 2: creating"),
    Step(1, 3, "POST: create an order"),
    Step(3, 1, "order B with its invoice"),
    Step(1, 1, "invoice verified", "hot"),
    Step(1, 3, "GET: order B, read back"),
    Step(1, 2, "attempt 2: payable"),
    Step(1, 0, "order B: show it"),
)

CALLBACK_PARTICIPANTS: Final = ("Aurpay", "processor", "inbox", "your handler")
CALLBACK: Final = (
    Step(0, 1, "GET callback_url"),
    Step(1, 1, "token, signature, date, reference", "hot"),
    Step(1, 2, "claim, with a lease"),
    Step(1, 3, "lookup: your stored order"),
    Step(1, 0, "GET: the order"),
    Step(0, 1, "SUCCESS"),
    Step(1, 1, "id, price, currency, amount", "hot"),
    Step(1, 3, "ConfirmedNotification"),
    Step(3, 2, "ack, in your transaction"),
    Step(1, 0, "200"),
    Step(0, 1, "GET callback_url, again"),
    Step(1, 2, "claim: handled already"),
    Step(1, 0, "200, no handler"),
)


def lost_answer() -> str:
    """Return the SVG file of a create with a lost answer."""
    return _sequence(
        "One payable order for a cart, although an answer is lost",
        LOST_ANSWER_PARTICIPANTS,
        LOST_ANSWER,
    )


def callback() -> str:
    """Return the SVG file of a callback and its repetition."""
    return _sequence(
        "A callback (webhook), and the same callback again",
        CALLBACK_PARTICIPANTS,
        CALLBACK,
    )


def _sequence(title: str, names: tuple[str, ...], steps: tuple[Step, ...]) -> str:
    height = _TOP + _STEP * len(steps) + 24
    lanes = [
        _MARGIN + place * (WIDTH - 2 * _MARGIN) / (len(names) - 1)
        for place in range(len(names))
    ]
    return picture(
        WIDTH,
        height,
        title,
        ". ".join(_describe(names, step) for step in steps) + ".",
        [
            text(24, 32, title, "strong"),
            *(
                part
                for x, name in zip(lanes, names, strict=True)
                for part in _lane(x, name, height)
            ),
            *(
                part
                for row, step in enumerate(steps)
                for part in _message(step, lanes, _TOP + row * _STEP + 22)
            ),
        ],
    )


def _describe(names: tuple[str, ...], step: Step) -> str:
    if step.source == step.target:
        return f"{names[step.source]}: {step.content}"
    return f"{names[step.source]} to {names[step.target]}: {step.content}"


def _lane(x: float, name: str, height: int) -> list[str]:
    return [
        box(x - 70, 48, 140, 30),
        text(x, 68, name, "strong small middle"),
        f'<path class="open" d="M{x:g} 78L{x:g} {height - 16}"/>',
    ]


def _message(step: Step, lanes: list[float], y: int) -> list[str]:
    start, end = lanes[step.source], lanes[step.target]
    if step.source == step.target:
        width = 7 * len(step.content) + 20
        return [
            box(start - width / 2, y - 18, width, 24, step.kind or "box"),
            text(start, y - 2, step.content, "small middle"),
        ]
    side = 1 if end > start else -1
    gap = lanes[1] - lanes[0]
    stop = start + side * gap * 0.85 if step.kind == "lost" else end - side * 2
    parts = [arrow(f"M{start + side * 2:g} {y}L{stop:g} {y}")]
    if step.kind == "lost":
        parts.append(text(stop + side * 8, y + 5, "x", "strong middle"))
    near = start + side * gap / 2
    return [*parts, text(near, y - 6, step.content, "small middle")]
