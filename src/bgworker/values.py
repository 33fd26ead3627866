"""Dataclasses that cost next to nothing to declare; type checkers see the standard library's.

The library writes and compiles six methods for each class when it is declared, and imports the
inspector of source code for it: more than half of what ``import bgworker`` took, in every program
that enqueues and in two processes of every worker, and of what bgtop took before its first screen.
Here all classes share their methods, and only ``__init__`` is written for a class, when its first
value is made.

What is left out is what no class of ours needs: inherited fields, order, ``InitVar``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NoReturn

__all__ = ["asdict", "dataclass", "field", "names_of", "replace"]
_MISSING: Final = object()

if TYPE_CHECKING:
    from dataclasses import asdict, dataclass, field, replace
else:

    def dataclass(*, slots, frozen=False, kw_only=False, eq=True):
        """As the library's; there are no values of ours without slots."""
        if not slots:
            raise TypeError("slots=True is missing")
        return lambda declared: _complete(declared, _Shape(declared, frozen, kw_only), eq)

    def field(*, default=_MISSING, default_factory=_MISSING, **flags):
        """A field of which there is more to say than a default: ``init, repr, compare``."""
        return _Field(default, default_factory, flags)

    def replace(value, /, **changes):
        """A copy with other values in these fields."""
        kept = {name: getattr(value, name) for name in value.__shape__.given}
        return type(value)(**{**kept, **changes})

    def asdict(value):
        """The fields by their names; values in them are taken apart too."""
        return {name: _plain(found) for name, found in _by_name(value).items()}


def names_of(of: Any) -> tuple[str, ...]:
    """The names of the fields of a value, or of a class of values, in the order declared."""
    return tuple(of.__slots__)


class _Field:
    def __init__(self, default: Any, factory: Any, flags: dict[str, bool]) -> None:
        self.default = default
        self.factory = factory
        self.flags = flags
        self.required = default is _MISSING and factory is _MISSING

    def has(self, flag: str) -> bool:
        return self.flags.get(flag, True)

    def in_words_of_the_library(self) -> dict[str, Any]:
        said = {"default": self.default, "default_factory": self.factory}
        return self.flags | {word: one for word, one in said.items() if one is not _MISSING}


class _Shape:
    """What was declared of a class; ``parts`` of a value compare as all its fields would."""

    def __init__(self, declared: type, frozen: bool, kw_only: bool) -> None:
        said = declared.__annotations__.items()
        self.types = {name: type_ for name, type_ in said if not str(type_).startswith("ClassVar")}
        self.names = tuple(self.types)
        found = {name: vars(declared).get(name, _MISSING) for name in self.names}
        self.fields: dict[str, _Field] = {
            name: one if isinstance(one, _Field) else _Field(one, _MISSING, {})
            for name, one in found.items()
        }
        self.given = self._that_have("init")
        self.shown = self._that_have("repr")
        compared = self._that_have("compare")
        self.parts: Any = attrgetter(*compared) if compared else lambda _: ()
        self.frozen = frozen
        self.kw_only = kw_only

    def _that_have(self, flag: str) -> tuple[str, ...]:
        return tuple(name for name, of in self.fields.items() if of.has(flag))

    def write_init(self, made: type) -> Any:
        """The function ``__init__``, as fast as if it were written by hand."""
        names: dict[str, Any] = {"__missing": _MISSING}
        parameters = ["self", *(["*"] if self.kw_only and self.given else [])]
        lines = []
        for name, of in self.fields.items():
            value, made_here = name, of.factory is not _MISSING
            names[f"__of_{name}"] = of.factory if made_here else of.default
            if made_here:
                value = f"__of_{name}()"
                value += f" if {name} is __missing else {name}" if of.has("init") else ""
            if of.has("init"):
                default = "__missing" if made_here else f"__of_{name}"
                parameters.append(name if of.required else f"{name}={default}")
            # The slot itself writes where the class refuses; asking for it by name costs as much.
            names[f"__slot_{name}"] = vars(made)[name].__set__
            lines.append(
                f"__slot_{name}(self, {value})" if self.frozen else f"self.{name} = {value}"
            )
        lines += ["self.__post_init__()"] if hasattr(made, "__post_init__") else []
        exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(lines or ["pass"]), names)  # noqa: S102 - made of names of fields
        return names["__init__"]


class _LibraryFields:
    """For ``dataclasses.fields`` and all that asks it, made when somebody does."""

    def __get__(self, _: object, owner: Any) -> dict[str, Any]:
        import dataclasses

        shape, field = owner.__shape__, dataclasses.field
        made = [
            (name, shape.types[name], field(**of.in_words_of_the_library()))
            for name, of in shape.fields.items()
        ]
        twin: Any = dataclasses.make_dataclass(owner.__name__, made, kw_only=shape.kw_only)
        fields = dict(twin.__dataclass_fields__)
        type.__setattr__(owner, "__dataclass_fields__", fields)
        return fields


def _complete(declared: type, shape: _Shape, eq: bool) -> type:
    """The class once more, with slots for its fields and the methods of a dataclass."""
    without = {*shape.names, "__dict__", "__weakref__"}
    body = {name: value for name, value in vars(declared).items() if name not in without}
    body |= {
        "__slots__": shape.names,
        "__match_args__": () if shape.kw_only else shape.given,
        "__dataclass_fields__": _LibraryFields(),
        "__shape__": shape,
        "__getstate__": _state,
        "__setstate__": _take_state,
        "__replace__": replace,
    }
    body.setdefault("__repr__", _repr)
    if eq:
        body.setdefault("__eq__", _eq)
        body.setdefault("__hash__", _hash if shape.frozen else None)
    if shape.frozen:
        body |= {"__setattr__": _refuse, "__delattr__": _refuse}

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        init = shape.write_init(made)
        init.__qualname__ = f"{made.__qualname__}.__init__"
        type.__setattr__(made, "__init__", init)
        init(self, *args, **kwargs)

    made: type = type(declared)(declared.__name__, declared.__bases__, {**body, "__init__": first})
    made.__qualname__ = declared.__qualname__
    return made


def _by_name(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__shape__.names}


def _plain(value: Any) -> Any:
    if hasattr(value, "__shape__"):
        return asdict(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(one) for one in value)
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def _repr(self: Any) -> str:
    shown = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__shape__.shown)
    return f"{type(self).__qualname__}({shown})"


def _eq(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    parts = self.__shape__.parts
    return parts(self) == parts(other)


def _hash(self: Any) -> int:
    return hash(self.__shape__.parts(self))


def _refuse(self: Any, name: str, *_: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot change field {name!r} of {type(self).__qualname__}")


def _state(self: Any) -> list[Any]:
    return list(_by_name(self).values())


def _take_state(self: Any, state: list[Any]) -> None:
    for name, value in zip(self.__shape__.names, state, strict=True):
        object.__setattr__(self, name, value)
