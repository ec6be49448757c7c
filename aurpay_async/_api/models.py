"""The public form of an order, for the payer's page: plain strings, no secret."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic_core import CoreSchema


class PublicRecord:
    """A record that has a public form, for JSON, templates and FastAPI."""

    #: The names of the public fields and properties.
    _public: ClassVar[tuple[str, ...]]

    def to_public_dict(self) -> dict[str, str | None]:
        """Return the fields that the payer may see, each as a string or ``None``.

        Amounts are fixed-point, and times ISO 8601 with their zone. The merchant's own
        data is left out (`reference`, `attempt_id`, `extra`, `checks`, the merchant's
        id, the remark), and so is the payment secret beside the invoice.
        """
        return {name: _public_value(getattr(self, name)) for name in self._public}

    def __iter__(self) -> Iterator[tuple[str, str | None]]:
        """Iterate over the pairs of `to_public_dict`: ``dict(order)`` is public.

        FastAPI's encoder tries ``dict()`` on the return value of a route, so it writes
        neither floats nor secrets. Pydantic models are iterable in the same way.
        """
        return iter(self.to_public_dict().items())

    @classmethod
    def __get_pydantic_core_schema__(cls, _: object, __: object) -> CoreSchema:
        """Return a schema that accepts the record and serializes its public form."""
        from pydantic_core import core_schema

        value = core_schema.nullable_schema(core_schema.str_schema())
        fields = {name: core_schema.typed_dict_field(value) for name in cls._public}
        return core_schema.is_instance_schema(
            cls,
            serialization=core_schema.plain_serializer_function_ser_schema(
                cls.to_public_dict,
                return_schema=core_schema.typed_dict_schema(fields),
            ),
        )


def _public_value(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime) else str(value)
