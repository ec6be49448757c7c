"""What the sandbox can be asked to do wrong, as texts: ``name; option=value``.

A vocabulary is a table of names with their meaning; whoever writes another name is
told which there are. What is asked for waits in a queue.
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast

import attrs

from ..errors import InvalidRequestError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ._kept import Journal

_TEXT = re.compile(r"([a-z0-9-]+)\s*((?:;\s*[a-z-]+=[ -:<-~]*)*)", re.ASCII)

#: Options that are numbers: what reads them, and from where to where they go.
_NUMBERS: Final[Mapping[str, tuple[Callable[[str], float], int, int]]] = {
    "seconds": (float, 0, 3600),
    "times": (int, 1, 100),
}

#: Options that are one of a few words.
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("aurpay_order_id", "public_key"),
    "signed": ("called", "registered"),
}


@attrs.frozen
class Kind:
    """A row of a vocabulary."""

    meaning: str
    #: What may be set, with its default.
    options: Mapping[str, str] = attrs.field(factory=dict[str, str])


@attrs.frozen
class Mishap:
    """One thing to do wrong."""

    name: str
    options: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """The option of this name."""
        return float(self.options["seconds"])

    @property
    def times(self) -> int:
        """The option of this name."""
        return int(self.options["times"])


@attrs.frozen(kw_only=True)
class Vocabulary:
    """All that may be asked for of one sort."""

    #: What one of it is called.
    noun: str
    #: The row of a name, if there is one.
    find: Callable[[str], Kind | None]
    #: What to write, for whoever wrote something else.
    hint: str

    def require_text(self, text: object) -> str:
        """`text`, if it is one.

        Raises:
            InvalidRequestError: with the names that there are.
        """
        if not isinstance(text, str):
            raise self.refuse(f"a {self.noun} is a text, not {shown(text)}")
        return text

    def read(self, text: str) -> Mishap:
        """What a text asks for.

        Raises:
            InvalidRequestError: with the names that there are.
        """
        match = _TEXT.fullmatch(self.require_text(text).strip())
        if match is None:
            raise self.refuse(f"not a {self.noun}: {shown(text)}")
        name, listed = match.groups()
        kind = self.find(name)
        if kind is None:
            raise self.refuse(f"there is no {self.noun} {shown(name)}")
        options = dict(kind.options)
        for item in listed.split(";")[1:]:
            option, _, value = (part.strip() for part in item.partition("="))
            if option not in options:
                known = ", ".join(options) or "none"
                raise self.refuse(f"{name} has no option {shown(option)}, but {known}")
            options[option] = value
        self._require_numbers(options)
        self._require_choices(options)
        return Mishap(name, options)

    def refuse(self, problem: str) -> InvalidRequestError:
        """The error that says so, with the names that there are."""
        return InvalidRequestError(
            problem, field=self.noun.replace(" ", "_"), hint=self.hint
        )

    def _require_numbers(self, options: Mapping[str, str]) -> None:
        for name in _NUMBERS.keys() & options.keys():
            read, least, most = _NUMBERS[name]
            try:
                right = least <= read(options[name]) <= most
            except ValueError:
                right = False
            if not right:
                raise self.refuse(
                    f"{name} must be {least} to {most}, got {shown(options[name])}"
                )

    def _require_choices(self, options: Mapping[str, str]) -> None:
        for name in _CHOICES.keys() & options.keys():
            if options[name] not in _CHOICES[name]:
                known = " or ".join(_CHOICES[name])
                raise self.refuse(f"{name} must be {known}, got {shown(options[name])}")


M = TypeVar("M", bound=Mishap)


class Queue(Generic[M]):
    """What was asked for and has not come yet: first in, first out."""

    def __init__(self, noun: str, parse: Callable[[str], M]) -> None:
        self._noun = noun
        self._parse = parse
        self._queue: deque[tuple[str, M]] = deque()
        self._journal: Journal | None = None

    def push(self, *texts: str) -> None:
        """Add some, all or none.

        Args:
            texts: ``name; option=value``; see the documentation's table.

        Raises:
            InvalidRequestError: if there is no such name, with those that there are.
        """
        self._queue.extend([(text, self._parse(text)) for text in texts])
        self._write()

    def clear(self) -> None:
        """Drop what is left."""
        self._queue.clear()
        self._write()

    def take(self) -> M | None:
        """The next one, which is used up."""
        if not self._queue:
            return None
        _, mishap = self._queue.popleft()
        self._write()
        return mishap

    def keep(self, journal: Journal) -> None:
        """Put what is in the journal first, and keep everything there from now on."""
        added = list(self)
        self._queue.clear()
        for _, texts in journal.read(self._noun):
            self.push(*cast("list[str]", texts))
        self._journal = journal
        self.push(*added)

    def __len__(self) -> int:
        return len(self._queue)

    def __iter__(self) -> Iterator[str]:
        return iter([text for text, _ in self._queue])

    def _write(self) -> None:
        if self._journal is not None:
            self._journal.put(self._noun, "queue", list(self))
