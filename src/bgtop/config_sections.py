"""The sections ``[keys]`` and ``[alerts]`` of a configuration."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from bgtop.config_values import KEYS, MISPLACED

if TYPE_CHECKING:
    from bgtop.config_file import Layer
    from bgtop.state.alerts import Rules

_NAMED_KEYS: Final = frozenset(
    {
        *("up", "down", "left", "right", "pgup", "pgdn", "home", "end"),
        *("enter", "esc", "tab", "backtab", "backspace", "f1", "space", "ctrl+r"),
    }
)
NO_COMMAND: Final = "none"
"""The name under which keys are switched off."""

_FIXED: Final = frozenset({"jump"})
"""Commands whose keys mean one thing each."""


def keys_of(section: Layer) -> tuple[dict[str, str], list[str]]:
    """What other keys stand for: the usual key of each one's command, or nothing."""
    from bgtop.view.commands import COMMANDS

    usual = {c.name.replace(" ", "_"): c.keys[0] for c in COMMANDS if c.name not in _FIXED}
    usual[NO_COMMAND] = ""
    found: dict[str, str] = {}
    faults = []
    for name, entry in section.items():
        if name not in usual:
            known = f"unknown command; known: {', '.join(sorted(usual))}"
            faults.append(f"{entry.label}: {MISPLACED if name in KEYS else known}")
            continue
        for word in entry.text.split():
            if word not in _NAMED_KEYS and (len(word) != 1 or not word.isprintable()):
                faults.append(f"{entry.label}: {word!r} is no key")
            key = " " if word == "space" else word
            if key in found:
                faults.append(f"{entry.label}: {word!r} is the key of another command already")
            found[key] = usual[name]
    return found, faults


def rules_of(section: Layer) -> tuple[Rules | None, list[str]]:
    """What to be alarmed by; ``None`` without any rule."""
    from bgtop.state.alerts import Rules

    values: dict[str, Any] = {"limits": ()}
    faults = []
    for key, entry in section.items():
        if key not in ALERT_KEYS:
            known = f"unknown key; known: {', '.join(ALERT_KEYS)}"
            faults.append(f"{entry.label}: {MISPLACED if key in KEYS else known}")
            continue
        try:
            value = ALERT_KEYS[key](entry.text)
        except ValueError as fault:
            faults.append(f"{entry.label}: {fault}")
            continue
        if key in {"depth", "age", "no_consumer"}:
            values["limits"] += value
        else:
            values[key] = value
    rules = Rules(**values)
    watched = bool(rules.limits or rules.failures is not None or rules.worker_gone)
    return (rules if watched else None), faults


def _limits(measure: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        return tuple(_each_limit(measure, text))

    return parse


def _each_limit(measure: str, text: str) -> Iterator[Any]:
    from bgtop.state.thresholds import Limit, Measure

    words = text.split()
    if not words:
        raise ValueError("is empty")
    for word in words:
        queue, sign, number = word.rpartition("=")
        value = _number(number)
        yield Limit(measure=Measure(measure), value=value, queue=queue if sign else None)


def _number(text: str) -> float:
    from math import isfinite

    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        raise ValueError(f"{text!r} is not a number from 0 on")
    return value


def _share(text: str) -> float:
    value = _number(text.removesuffix("%").strip())
    if value > 100:
        raise ValueError(f"{text!r} is not a share from 0 to 100 %")
    return value / 100


def _no_consumer(text: str) -> Any:
    from bgtop.state.thresholds import Limit, Measure

    return (Limit(measure=Measure.CONSUMERS),) if _switch(text) else ()


def _switch(text: str) -> bool:
    from bgtop.config_values import flag

    return flag(text)


def _command(text: str) -> tuple[str, ...]:
    import shlex

    try:
        words = shlex.split(text)
    except ValueError as fault:
        raise ValueError(f"cannot be split into words: {str(fault).lower()}") from None
    if not words:
        raise ValueError("is empty")
    return tuple(words)


ALERT_KEYS: Final[dict[str, Callable[[str], Any]]] = {
    "depth": _limits("depth"),
    "age": _limits("age"),
    "failures": _share,
    "no_consumer": _no_consumer,
    "worker_gone": _switch,
    "bell": _switch,
    "command": _command,
    "repeat": _number,
}
"""Every key of ``[alerts]`` and what reads it."""
