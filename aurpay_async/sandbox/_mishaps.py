"""The grammar of faults, ``name; option=value``, and the queues of faults.

A registry knows the names and options of one kind of fault, and rejects others with a
list of the names.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

import attrs

from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ._kept import Storage

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


@attrs.frozen
class FaultType:
    """A fault of a registry: its meaning and options."""

    meaning: str
    #: The defaults by name.
    options: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen
class FaultSpec:
    """A fault with its options."""

    name: str
    options: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """Return the option `seconds`."""
        return float(self.options["seconds"])

    @property
    def times(self) -> int:
        """Return the option `times`."""
        return int(self.options["times"])


@attrs.frozen(kw_only=True)
class FaultRegistry:
    """The names and options of one kind of fault."""

    #: The kind, for messages and storage.
    noun: str
    #: Return the fault of a name, if there is one.
    find: Callable[[str], FaultType | None]
    #: The valid names, for messages.
    hint: str

    def require_str(self, text: object) -> str:
        """Return `text` if it is a `str`.

        Raises:
            InvalidRequestError: with the valid names.
        """
        if not isinstance(text, str):
            raise self.error(f"a {self.noun} is a str; got {shown(text)}")
        return text

    def parse(self, text: str) -> FaultSpec:
        """Parse a fault.

        Raises:
            InvalidRequestError: with the valid names.
        """
        match = _TEXT.fullmatch(self.require_str(text).strip())
        if match is None:
            raise self.error(f"not a {self.noun}: {shown(text)}")
        name, listed = match.groups()
        fault_type = self.find(name)
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
        self._require_numbers(options)
        self._require_choices(options)
        return FaultSpec(name, options)

    def error(self, problem: str) -> InvalidRequestError:
        """Return the error for a problem, with the valid names."""
        return InvalidRequestError(
            problem, field=self.noun.replace(" ", "_"), hint=self.hint
        )

    def _require_numbers(self, options: Mapping[str, str]) -> None:
        for name in _NUMBERS.keys() & options.keys():
            convert, least, most = _NUMBERS[name]
            try:
                is_valid = least <= convert(options[name]) <= most
            except ValueError:
                is_valid = False
            if not is_valid:
                raise self.error(
                    f"{name} must be {least} to {most}, got {shown(options[name])}"
                )

    def _require_choices(self, options: Mapping[str, str]) -> None:
        for name in _CHOICES.keys() & options.keys():
            if options[name] not in _CHOICES[name]:
                known = " or ".join(_CHOICES[name])
                raise self.error(f"{name} must be {known}, got {shown(options[name])}")


M = TypeVar("M", bound=FaultSpec)


class FaultQueue(Generic[M]):
    """Faults that are still to be injected, first in, first out."""

    def __init__(self, noun: str, parse: Callable[[str], M]) -> None:
        self._noun = noun
        self._parse = parse
        self._queue: deque[tuple[str, M]] = deque()
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

    def take(self) -> M | None:
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
