"""Our cheap dataclasses do what the library's do."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from bgworker import values


def _made_by(dataclass: Callable[..., Any], field: Callable[..., Any]) -> dict[str, Any]:
    """The same declarations, by the library or by us."""

    @dataclass(frozen=True, slots=True)
    class Point:
        """At a place."""

        x: int
        y: object = 0

        def sum(self) -> object:
            return self.x, self.y

    @dataclass(frozen=True, slots=True, kw_only=True)
    class Named:
        name: str = "n"
        self_: int
        many: list[int] = field(default_factory=list)

        def __post_init__(self) -> None:
            if self.self_ < 0:
                raise ValueError("negative")

    @dataclass(slots=True)
    class Changing:
        held: list[int] = field(default_factory=list)
        count: int = 0

    @dataclass(slots=True, eq=False)
    class Itself:
        count: int = 0

    @dataclass(frozen=True, slots=True)
    class Nothing:
        pass

    @dataclass(frozen=True, slots=True)
    class Flagged:
        KIND: ClassVar = "k"
        shown: int
        secret: str = field(repr=False)
        by: str = field(default="nobody", compare=False)
        kept: list[int] = field(init=False, default_factory=list, compare=False, repr=False)

    declared = (Point, Named, Changing, Itself, Nothing, Flagged)
    return {made.__name__: made for made in declared}


LIBRARY = _made_by(dataclasses.dataclass, dataclasses.field)
OURS = _made_by(values.dataclass, values.field)
CASES: list[Callable[[dict[str, Any]], object]] = [
    lambda of: [of["Point"](1), of["Point"](1, y=(2,)), of["Point"](x=1).sum()],
    lambda of: of["Point"](1, [of["Named"](self_=1)]),
    lambda of: of["Point"].__doc__,
    lambda of: of["Point"](),
    lambda of: of["Point"](1, 2, 3),
    lambda of: of["Point"](1, z=3),
    lambda of: of["Named"]("n"),
    lambda of: of["Named"](self_=-1),
    lambda of: of["Named"](self_=1).many is of["Named"](self_=1).many,
    lambda of: [of["Point"](1) == of["Point"](1), of["Point"](1) == of["Point"](1, 1)],
    lambda of: [of["Point"](1) == 1, of["Nothing"]() == of["Nothing"]()],
    lambda of: of["Changing"]() == of["Changing"](),
    lambda of: of["Itself"]() == of["Itself"](),
    lambda of: [of["Flagged"](1, "s"), of["Flagged"](1, "s", by="me").secret, of["Flagged"].KIND],
    lambda of: of["Flagged"](1),
    lambda of: of["Flagged"](1, "s", kept=[]),
    lambda of: of["Flagged"](1, "s").kept is of["Flagged"](1, "s").kept,
    lambda of: [of["Flagged"](1, "s") == of["Flagged"](1, by, "me") for by in "st"],
    lambda of: len({of["Flagged"](1, "s"), of["Flagged"](1, "s", "me"), of["Flagged"](1, "t")}),
    lambda of: of["Flagged"].__match_args__,
    lambda of: dataclasses.replace(of["Flagged"](1, "s", "me"), shown=2),
    lambda of: dataclasses.asdict(of["Flagged"](1, "s")),
    lambda of: [(f.name, f.init, f.repr, f.compare) for f in dataclasses.fields(of["Flagged"])],
    lambda of: copy.copy(of["Flagged"](1, "s", "me")),
    lambda of: len({of["Point"](1), of["Point"](1), of["Point"](2), of["Nothing"]()}),
    lambda of: hash(of["Changing"]()),
    lambda of: hash(of["Point"]([])),
    lambda of: len({of["Itself"](), of["Itself"]()}),
    lambda of: of["Point"].__match_args__ + of["Named"].__match_args__,
    lambda of: setattr(of["Point"](1), "x", 2),
    lambda of: delattr(of["Point"](1), "x"),
    lambda of: setattr(of["Changing"](), "other", 2),
    lambda of: vars(of["Point"](1)),
    lambda of: [copy.copy(of["Point"](1)), copy.deepcopy(of["Named"](self_=1, many=[1]))],
    lambda of: dataclasses.replace(of["Named"](self_=1), name="other"),
    lambda of: dataclasses.replace(of["Named"](self_=1), self_=-1),
    lambda of: dataclasses.asdict(of["Point"](1, of["Point"](2, [of["Nothing"]()]))),
    lambda of: dataclasses.is_dataclass(of["Point"]),
    lambda of: [f.name for f in dataclasses.fields(of["Named"])],
    lambda of: [f.default for f in dataclasses.fields(of["Point"])],
    lambda of: dataclasses.fields(of["Changing"]())[0].default_factory,
    lambda of: [len(dataclasses.fields(of["Named"])) for _ in range(2)],
]


def _outcome(case: Callable[[dict[str, Any]], object], of: dict[str, Any]) -> str:
    try:
        return repr(case(of))
    except Exception as error:  # noqa: BLE001 - they are compared
        return f"{type(error).__name__}: {error.args[:1] if type(error) is ValueError else ''}"


@pytest.mark.parametrize("case", CASES)
def test_they_do_the_same(case: Callable[[dict[str, Any]], object]) -> None:
    assert _outcome(case, OURS) == _outcome(case, LIBRARY)


@pytest.mark.parametrize(
    ("ours", "library"),
    [(values.replace, dataclasses.replace), (values.asdict, dataclasses.asdict)],
)
def test_so_do_the_functions(ours: Callable[..., object], library: Callable[..., object]) -> None:
    changes = {"y": [OURS["Point"](3), ({"a": OURS["Nothing"]()},)]}
    changed = OURS["Point"](1, **changes)
    if ours is values.replace:
        assert ours(OURS["Point"](1), **changes) == library(OURS["Point"](1), **changes) == changed
        with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
            ours(changed, z=1)
    else:
        assert ours(changed) == library(changed)


def test_names_of_both_kinds() -> None:
    for of in (OURS, LIBRARY):
        assert values.names_of(of["Flagged"]) == ("shown", "secret", "by", "kept")
        assert values.names_of(of["Changing"]()) == ("held", "count")


def test_replacing_leaves_out_what_is_not_given() -> None:
    kept = OURS["Flagged"](1, "s")
    kept.kept.append(1)
    assert values.replace(kept, shown=2) == OURS["Flagged"](2, "s")
    assert values.replace(kept, shown=2).kept == []


@values.dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One that another process could import."""

    a: int
    b: str = "b"


def test_one_that_was_made_is_as_fast_as_one_of_the_library() -> None:
    Sent(a=1)
    assert list(inspect.signature(Sent).parameters) == ["a", "b"]
    assert inspect.signature(Sent).parameters["b"].default == "b"
    assert pickle.loads(pickle.dumps(Sent(a=2))) == Sent(a=2)
    with pytest.raises(TypeError, match=r"Sent\.__init__\(\) missing 1 required keyword"):
        Sent()  # type: ignore[call-arg]


def test_without_slots_it_is_refused() -> None:
    with pytest.raises(TypeError, match="slots"):
        values.dataclass(slots=False)


@pytest.mark.parametrize("module", ["bgworker", "bgworker.worker.run", "bgworker.worker.zygote"])
def test_nothing_imports_the_library(module: str) -> None:
    """Nor what else costs much and a plain run does not need."""
    heavy = "{'dataclasses', 'inspect', 'traceback', 'urllib.parse', 'logging', 'asyncio', 'uuid'}"
    script = f"import sys, {module}; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout == "[]\n"
