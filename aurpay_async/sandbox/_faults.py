"""Fault injection: the grammar, the registry and the queues of faults.

A registry contains one kind of fault: each has a name, a meaning, options, and the
function that performs it, which is registered with them. `_fault_responses` has the
faults of requests, `_callbacks` those of callbacks. A fault is ``name; option=value``.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

import attrs

from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ._storage import Storage


_TEXT = re.compile(r"([a-z0-9-]+)\s*((?:;\s*[a-z-]+=[ -:<-~]*)*)", re.ASCII)

#: Options that are numbers: the type, and the smallest and largest value.
_NUMBERS: Final[Mapping[str, tuple[Callable[[str], float], int, int]]] = {
    "seconds": (float, 0, 3600),
    "times": (int, 1, 100),
}

#: Options with a fixed set of values.
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("aurpay_order_id", "public_key"),
    "signed": ("called", "registered"),
}

#: The function that performs a fault.
P = TypeVar("P")


@attrs.frozen
class FaultType(Generic[P]):
    """A fault of a registry."""

    meaning: str
    perform: P
    #: The defaults by name.
    options: Mapping[str, str]
    #: Whether the request is served; only the transport of its response is faulty.
    serves: bool


@attrs.frozen
class FaultSpec(Generic[P]):
    """A fault with its options."""

    name: str
    perform: P
    options: Mapping[str, str]
    #: Whether the request is served, because of ``+created`` or by the type of fault.
    serves: bool
    #: The options that are numbers; 0 for a fault without them.
    seconds: float
    times: int


class FaultRegistry(dict[str, FaultType[P]]):
    """The faults of one kind, by name."""

    def __init__(self, noun: str, hint: str) -> None:
        """Begin without faults.

        Args:
            noun: The kind, for messages and storage.
            hint: The valid names, for messages; ``{names}`` stands for those of the
                registered faults.
        """
        super().__init__()
        self.noun = noun
        self._hint = hint
        self._patterns: dict[re.Pattern[str], FaultType[P]] = {}

    def register(
        self,
        name: str | re.Pattern[str],
        meaning: str,
        options: Mapping[str, str] | None = None,
        *,
        serves: bool = False,
    ) -> Callable[[P], P]:
        """Register the decorated function for a name, or for all names of a pattern."""

        def add(perform: P) -> P:
            fault_type = FaultType(meaning, perform, options or {}, serves)
            if isinstance(name, str):
                self[name] = fault_type
            else:
                self._patterns[name] = fault_type
            return perform

        return add

    def require_str(self, text: object) -> str:
        """Return `text` if it is a `str`.

        Raises:
            InvalidRequestError: with the valid names.
        """
        if not isinstance(text, str):
            raise self.error(f"a {self.noun} is a str; got {shown(text)}")
        return text

    def parse(self, text: str) -> FaultSpec[P]:
        """Parse a fault.

        Raises:
            InvalidRequestError: with the valid names.
        """
        match = _TEXT.fullmatch(self.require_str(text).strip())
        if match is None:
            raise self.error(f"not a {self.noun}: {shown(text)}")
        name, listed = match.groups()
        matching = (t for p, t in self._patterns.items() if p.fullmatch(name))
        fault_type = self.get(name) or next(matching, None)
        if fault_type is None:
            raise self.error(f"there is no {self.noun} {shown(name)}")
        options = dict(fault_type.options)
        for item in listed.split(";")[1:]:
            option, _, value = (part.strip() for part in item.partition("="))
            if option not in options:
                known = ", ".join(options) or "none"
                raise self.error(
                    f"{name} has no option {shown(option)}; it has: {known}"
                )
            options[option] = value
        for option in _CHOICES.keys() & options.keys():
            if options[option] not in _CHOICES[option]:
                raise self._option_error(option, " or ".join(_CHOICES[option]), options)
        return FaultSpec(
            name,
            fault_type.perform,
            options,
            fault_type.serves,
            seconds=self._number("seconds", options),
            times=int(self._number("times", options)),
        )

    def error(self, problem: str) -> InvalidRequestError:
        """Return the error for a problem, with the valid names."""
        hint = self._hint.format(names=", ".join(self))
        return InvalidRequestError(
            problem, field=self.noun.replace(" ", "_"), hint=hint
        )

    def _option_error(
        self, option: str, valid: str, options: Mapping[str, str]
    ) -> InvalidRequestError:
        return self.error(f"{option} must be {valid}, got {shown(options[option])}")

    def _number(self, option: str, options: Mapping[str, str]) -> float:
        if option not in options:
            return 0
        convert, least, most = _NUMBERS[option]
        try:
            number = convert(options[option])
        except ValueError:
            number = -1
        if not least <= number <= most:
            raise self._option_error(option, f"{least} to {most}", options)
        return number


class FaultQueue(Generic[P]):
    """Faults that are still to be injected, first in, first out."""

    def __init__(self, noun: str, parse: Callable[[str], FaultSpec[P]]) -> None:
        self._noun = noun
        self._parse = parse
        self._queue: deque[tuple[str, FaultSpec[P]]] = deque()
        self._storage: Storage | None = None

    def push(self, *faults: str) -> None:
        """Add faults. If one is invalid, none is added.

        Args:
            faults: Faults as ``name; option=value``; the documentation lists them.

        Raises:
            InvalidRequestError: if a fault is invalid, with the valid names.
        """
        self._queue.extend([(text, self._parse(text)) for text in faults])
        self._write()

    def clear(self) -> None:
        """Remove all faults."""
        self._queue.clear()
        self._write()

    def take(self) -> FaultSpec[P] | None:
        """Remove and return the next fault, if there is one."""
        if not self._queue:
            return None
        _, fault = self._queue.popleft()
        self._write()
        return fault

    def attach(self, storage: Storage) -> None:
        """Put the stored faults first, and store each change from now on."""
        added = list(self)
        self._queue.clear()
        for _, stored in storage.read(self._noun):
            self.push(*cast("list[str]", stored))
        self._storage = storage
        self.push(*added)

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[str]:
        return iter([text for text, _ in self._queue])

    def _write(self) -> None:
        if self._storage is not None:
            self._storage.put(self._noun, "queue", list(self))
