"""The language of filters: ``mail !bulk``, ``state:failed age>60``, ``(queue:a OR queue:b)``.

A word is a regular expression that is looked for in the name. ``FIELD:word`` looks elsewhere,
``FIELD>NUMBER`` compares. Terms side by side have to hold all. What is not known matches nothing.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from bgtop.state.intake import BadPattern

R = TypeVar("R")

Value: TypeAlias = "str | float | Sequence[str] | None"
Facts: TypeAlias = Mapping[str, Callable[[R], Value]]
"""What a row can be asked by the name of a field; ``name`` is what words without field mean."""

Test: TypeAlias = Callable[[R], bool]

LONGEST: Final = 500
"""Letters of a filter."""

DEEPEST: Final = 8
MOST_TERMS: Final = 64

FIELDS: Final = frozenset(
    {
        "name", "state", "worker", "queue", "task", "id",
        "args", "kwargs", "result", "error", "source", "system",
        "rule", "enabled", "depth", "unacked", "scheduled", "deferred",
        "running", "failed", "dead", "age", "in", "out",
        "drain", "runtime", "mean", "consumers", "priority", "attempts",
        "waiting", "succeeded", "late", "processed", "beat", "cpu",
        "rss", "concurrency", "count", "severity", "subject",
    }
)  # fmt: skip
"""Every field of any table: before ``:`` or ``>`` they are fields, other words are patterns."""

_STATES_OF_CELERY: Final = {
    "pending": "waiting",
    "received": "waiting",
    "started": "running",
    "success": "succeeded",
    "failure": "failed",
    "revoked": "cancelled",
    "retry": "scheduled",
}
"""Words for states that people bring along."""

_UNITS: Final = {
    "": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
    "k": 1e3, "M": 1e6, "G": 1e9,
}  # fmt: skip
_NUMBER: Final = re.compile(r"(-?\d{1,15}(?:\.\d{1,9})?)(ms|[smhdkMG]?)")
_FIELD: Final = re.compile(r"([a-z]+)(:|>=|<=|=|>|<)(.*)", re.DOTALL)
_COMPARISON: Final = re.compile(rf"(\w+)[<>]=?{_NUMBER.pattern}")
"""Meant as one, whatever is before it: a name with a sign and a number can be put in quotes."""
_COMPARISONS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
}


def filter_of(text: str, facts: Facts[R]) -> Test[R] | None:
    """The test a text describes for rows that have these facts; ``None`` if it tests nothing.

    Raises :class:`BadPattern` with one line that says what is wrong.
    """
    if text.strip() in {"", "!"}:
        return None
    if len(text) > LONGEST:
        raise BadPattern(f"longer than {LONGEST} letters")
    return _Parser(_tokens(text), facts).whole()


class _Token(NamedTuple):
    """``kind`` is the operator itself, or ``term``."""

    kind: str
    text: str = ""


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = depth = 0
    while at < len(text):
        letter = text[at]
        if letter.isspace():
            at += 1
        elif letter == "!":
            tokens.append(_Token("!"))
            at += 1
        elif letter == "(" and _opens_group(text, at, grouped=depth > 0):
            tokens.append(_Token("("))
            depth += 1
            at += 1
        elif letter == ")" and depth:
            tokens.append(_Token(")"))
            depth -= 1
            at += 1
        else:
            end = _end_of_term(text, at, grouped=depth > 0)
            word = text[at:end]
            tokens.append(_Token(word) if word in {"AND", "OR", "NOT"} else _Token("term", word))
            at = end
    return tokens


def _opens_group(text: str, at: int, *, grouped: bool) -> bool:
    """Whether a bracket at the beginning of a term is ours, and not that of a pattern."""
    end = _end_of_term(text, at, grouped=grouped)
    inner = text[at + 1 : end - 1]
    if end <= at + 1 or text[end - 1] != ")" or _closing(text, at) != end - 1:
        return False
    first = _FIELD.match(inner)
    of_field = first is not None and first[1] in FIELDS
    return of_field or inner[:1] in {"!", '"', "("} or any(map(str.isspace, inner))


def _closing(text: str, at: int) -> int | None:
    """Where the bracket that opens here is closed."""
    depth = 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "[":
            at = _end_of_class(text, at)
        elif text[at] in "()":
            depth += 1 if text[at] == "(" else -1
            if depth == 0:
                return at
        at += 1
    return None


def _end_of_class(text: str, at: int) -> int:
    """Where ``[...]`` ends; where it begins if it does not end."""
    end = at + 2
    while end < len(text) and text[end] != "]":
        end += 2 if text[end] == "\\" else 1
    return end if end < len(text) else at


def _end_of_quoted(text: str, at: int) -> int | None:
    """The end of a term that is a text between quotes, maybe with a field before it."""
    named = _FIELD.match(text, at)
    quote = at if named is None or named[1] not in FIELDS else named.start(3)
    if text[quote : quote + 1] != '"':
        return None
    end = quote + 1
    while end < len(text) and text[end] != '"':
        end += 2 if text[end] == "\\" else 1
    if end >= len(text):
        raise BadPattern('missing " at the end of a text')
    return end + 1


def _end_of_term(text: str, at: int, *, grouped: bool) -> int:
    """Up to the blank or bracket that does not belong to the pattern; raises BadPattern."""
    quoted_end = _end_of_quoted(text, at)
    if quoted_end is not None:
        return quoted_end
    depth = 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
        elif letter == "[":
            at = _end_of_class(text, at)
        elif letter == "(":
            depth += 1
        elif letter == ")":
            if depth == 0 and grouped:
                return at
            depth -= 1
        elif letter.isspace() and depth <= 0:
            return at
        at += 1
    return min(at, len(text))


class _Parser(Generic[R]):
    """Terms, ``NOT`` before them, both above ``AND``, that above ``OR``."""

    def __init__(self, tokens: Sequence[_Token], facts: Facts[R]) -> None:
        if len(tokens) > MOST_TERMS:
            raise BadPattern(f"more than {MOST_TERMS} terms")
        self._tokens = tokens
        self._facts = facts
        self._at = 0

    def _next(self) -> str:
        return self._tokens[self._at].kind if self._at < len(self._tokens) else ""

    def whole(self) -> Test[R]:
        test = self._any(0)
        if self._next():
            raise BadPattern(f"a {self._next()} too many")
        return test

    def _any(self, depth: int) -> Test[R]:
        tests = [self._all(depth)]
        while self._next() == "OR":
            self._at += 1
            tests.append(self._all(depth))
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def _all(self, depth: int) -> Test[R]:
        tests = [self._one(depth)]
        while self._next() not in {"", "OR", ")"}:
            if self._next() == "AND":
                self._at += 1
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def _one(self, depth: int) -> Test[R]:
        if depth > DEEPEST:
            raise BadPattern(f"more than {DEEPEST} brackets inside each other")
        if self._at >= len(self._tokens):
            raise BadPattern("something is missing at the end")
        kind, text = self._tokens[self._at]
        self._at += 1
        if kind in {"!", "NOT"}:
            test: Test[R] = self._one(depth + 1)
            return lambda row: not test(row)
        if kind == "(":
            inner: Test[R] = self._any(depth + 1)
            if self._next() != ")":
                raise BadPattern("missing )")
            self._at += 1
            return inner
        if kind != "term":
            raise BadPattern(f"something is missing before {kind}")
        return _test_of(text, self._facts)


def _test_of(term: str, facts: Facts[R]) -> Test[R]:
    found = _FIELD.fullmatch(term)
    if found is None or found[1] not in FIELDS:
        mistyped = _COMPARISON.fullmatch(term)
        if mistyped is not None:
            raise BadPattern(f"no field {mistyped[1]} here, but {' '.join(facts)}")
        return _search(facts["name"], _pattern(term))
    name, sign, wanted = found.groups()
    if name not in facts:
        raise BadPattern(f"no field {name} here, but {' '.join(facts)}")
    if not wanted:
        raise BadPattern(f"{name}{sign} of what?")
    value = facts[name]
    if sign == ":":
        return _state(value, wanted) if name == "state" else _search(value, _within(name, wanted))
    number = _NUMBER.fullmatch(wanted)
    if number is None:
        if sign != "=":
            raise BadPattern(f"{name}{sign} wants a number such as 10, 1.5, 2m or 10k")
        exact = _between_quotes(wanted)
        whole = wanted if exact is None else exact
        return lambda row: value(row) == whole
    return _compare(value, _COMPARISONS[sign], float(number[1]) * _UNITS[number[2]])


def _within(name: str, wanted: str) -> re.Pattern[str]:
    """Where to look for a field's text; ``kwargs:key=value`` looks for that argument."""
    key, equals, value = wanted.partition("=")
    if name == "kwargs" and equals:
        named, valued = re.escape(key.strip('"')), re.escape(value.strip('"'))
        return re.compile(rf'"{named}": "?{valued}"?[,}}]')
    return _pattern(wanted)


def _pattern(text: str) -> re.Pattern[str]:
    """A regular expression, or the very letters between quotes."""
    import warnings

    exact = _between_quotes(text)
    if exact is not None:
        text = re.escape(exact)
    try:
        with warnings.catch_warnings():
            # While somebody types "[[a]]" Python would print what that may mean one day.
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(text)
    except (re.error, RecursionError, OverflowError) as fault:
        raise BadPattern(f"not a pattern: {fault}") from None


def _between_quotes(text: str) -> str | None:
    """The letters that are meant between quotes; ``None`` where there are none."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r'\\(["\\])', r"\1", text[1:-1])
    return None


def quoted(text: str) -> str:
    """The term that finds exactly these letters."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _search(value: Callable[[R], Value], pattern: re.Pattern[str]) -> Test[R]:
    search = pattern.search

    def test(row: R) -> bool:
        found = value(row)
        if isinstance(found, str):
            return search(found) is not None
        if isinstance(found, (float, int)) or found is None:
            return found is not None and search(f"{found:g}") is not None
        return any(search(part) is not None for part in found)

    return test


def _state(value: Callable[[R], Value], wanted: str) -> Test[R]:
    """States are words of their own: ``fail`` is none of them."""
    word = wanted.strip('"').lower()
    state = _STATES_OF_CELERY.get(word, word)
    return lambda row: value(row) == state


def _compare(
    value: Callable[[R], Value], holds: Callable[[float, float], bool], number: float
) -> Test[R]:
    def test(row: R) -> bool:
        found = value(row)
        return isinstance(found, (float, int)) and holds(found, number)

    return test
