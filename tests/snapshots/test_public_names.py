"""Snapshots of the public modules: names, classes, members and signatures."""

from __future__ import annotations

import enum
import inspect
import re
from importlib import import_module
from types import GetSetDescriptorType, MemberDescriptorType
from typing import TYPE_CHECKING, Any, get_origin

import pytest

from ..test_house import PUBLIC
from .snapshot import expect_files, expect_json

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Special methods that callers use through the language's own syntax.
PROTOCOLS = {
    "__aenter__",
    "__aexit__",
    "__aiter__",
    "__anext__",
    "__await__",
    "__bool__",
    "__call__",
    "__contains__",
    "__enter__",
    "__exit__",
    "__getitem__",
    "__iter__",
    "__len__",
    "__setitem__",
}


def is_ours(cls: type) -> bool:
    return cls.__module__.partition(".")[0] == "aurpay_async"


def public_home(name: str, module: str) -> str:
    """Return the most specific public module below `module` that has the name."""
    homes = [
        public
        for public in PUBLIC
        if public.startswith(module) and name in import_module(public).__all__
    ]
    return max(homes, key=len)


def public_types() -> set[type]:
    return {
        value
        for module in map(import_module, PUBLIC)
        for name in module.__all__
        if inspect.isclass(value := getattr(module, name))
    }


def describe(name: str, module: str) -> Any:
    """Describe a public object without the place of its source file."""
    value = getattr(import_module(module), name)
    home = public_home(name, module)
    if home != module:
        assert getattr(import_module(home), name) is value
        return f"that of {home}"
    if inspect.isclass(value):
        return describe_class(value) if is_ours(value) else f"class {value.__name__}"
    if inspect.isroutine(value):
        return describe_function(value)
    if get_origin(value) is not None:
        return "type " + re.sub(r"\baurpay_async[\w.]*\.", "", str(value))
    return type(value).__name__


def describe_function(function: Any) -> str:
    keyword = "async def" if inspect.iscoroutinefunction(function) else "def"
    return f"{keyword} {inspect.signature(function)}"


def describe_class(cls: type) -> dict[str, Any]:
    known = public_types()
    bases = [
        base.__name__
        for base in cls.__mro__[1:-1]
        if base in known or base.__module__ == "builtins"
    ]
    found: dict[str, Any] = {"bases": bases}
    if not issubclass(cls, enum.Enum) and not getattr(cls, "_is_protocol", False):
        found["constructor"] = constructor(cls)
    members = dict(all_members(cls))
    return found | {"members": {name: members[name] for name in sorted(members)}}


def constructor(cls: type) -> str | None:
    """Return the signature of the class's own constructor, if it has one."""
    for base in filter(is_ours, cls.__mro__):
        for name in ("__init__", "__new__"):
            if name in vars(base):
                return str(inspect.signature(vars(base)[name]))
    return None


def all_members(cls: type) -> Iterator[tuple[str, str]]:
    for base in filter(is_ours, reversed(cls.__mro__)):
        for name, annotation in vars(base).get("__annotations__", {}).items():
            if not name.startswith("_"):
                yield name, f"attribute: {annotation}"
        for name, member in vars(base).items():
            if name in PROTOCOLS or not name.startswith("_"):
                described = describe_member(member)
                if described is not None:
                    yield name, described


def describe_member(member: Any) -> str | None:
    """Describe one member; slots are described by their annotations."""
    if isinstance(member, staticmethod | classmethod):
        kind = type(member).__name__
        return f"{kind} {describe_function(member.__func__)}"
    if inspect.isfunction(member):
        return describe_function(member)
    if isinstance(member, property):
        getter = inspect.signature(member.fget) if member.fget else "()"
        return f"property {getter}" + (" with a setter" if member.fset else "")
    if isinstance(member, enum.Enum):
        return f"member: {member.value!r}"
    if isinstance(member, MemberDescriptorType | GetSetDescriptorType):
        return None
    return f"class attribute: {type(member).__name__}"


@pytest.mark.parametrize("module", PUBLIC)
def test_public_module_has_the_stored_names_and_signatures(module: str) -> None:
    """Fails when a name, a member or a signature that users rely on has changed."""
    names = sorted(import_module(module).__all__)
    described = {name: describe(name, module) for name in names}
    expect_json(f"public/{module}.json", {"__all__": names, **described})


def test_each_stored_public_module_exists() -> None:
    """A module that is public no longer leaves no stored file behind."""
    expect_files("public", {f"{module}.json" for module in PUBLIC})
