"""The keys of a configuration, and how the text of each becomes a value."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any, Final

from bgtop.config_file import Layer
from bgtop.state.intake import name_filter

_YES: Final = frozenset({"1", "yes", "true", "on"})
_NO: Final = frozenset({"0", "no", "false", "off"})


def _text(text: str) -> str:
    if not text:
        raise ValueError("is empty")
    return text


def flag(text: str) -> bool:
    """``yes`` or ``no``, in any of their spellings; raises ``ValueError``."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(f"{text!r} is neither yes nor no")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not least <= value <= most:
            raise ValueError(f"{text} is not between {least} and {most}")
        return value

    return parse


def _seconds(least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number of seconds") from None
        if not isfinite(value) or not least <= value <= 86_400:
            raise ValueError(f"{text} is not between {least:g} seconds and a day")
        return value

    return parse


_SCALES: Final = {"k": 1e3, "m": 1e6, "g": 1e9}


def octets(text: str) -> int:
    """A size such as ``500k``, ``64M`` or ``2G``; raises ``ValueError``."""
    scale = _SCALES.get(text[-1:].lower(), 1.0)
    try:
        value = float(text[:-1] if scale > 1 else text) * scale
    except ValueError:
        value = -1.0
    if not isfinite(value) or value < 0:
        raise ValueError(f"{text!r} is no size such as 64M")
    return int(value)


def _history_size(text: str) -> int:
    value = octets(text)
    if not 1_000_000 <= value <= _MANY:
        raise ValueError(f"{text} is not between 1M and 1G")
    return value


def _redaction(text: str) -> str:
    if text:
        from bgtop.state.redaction import redaction_of

        redaction_of(text)
    return text


def _theme(text: str) -> str:
    from bgtop.view.themes import theme_named

    return theme_named(text)


_MANY: Final = 1_000_000_000

KEYS: Final[dict[str, Callable[[str], Any]]] = {
    "url": _text,
    "backend": _text,
    "redis_host": _text,
    "redis_port": _whole(1, 65_535),
    "redis_db": _whole(0, _MANY),
    "redis_username": str,
    "redis_password": str,
    "refresh_interval": _seconds(0.1),
    "dead_after": _seconds(1),
    "queue_filter": name_filter,
    "worker_filter": name_filter,
    "max_queues": _whole(1, _MANY),
    "max_workers": _whole(1, _MANY),
    "show_internal": flag,
    "events": flag,
    "redact": _redaction,
    "read_only": flag,
    "audit_log": _text,
    "history": flag,
    "history_size": _history_size,
    "no_color": flag,
    "ascii": flag,
    "no_mouse": flag,
    "theme": _theme,
    "renderer": _text,
    "sort": _text,
}
"""Every key and what reads it; each raises ``ValueError`` with words that follow the key."""


MISPLACED: Final = "is no key of this section; it belongs in [DEFAULT] or a profile"
"""What is said of a key of :data:`KEYS` in a section that is no profile."""


def faults_of(layer: Layer) -> Iterator[str]:
    """What is wrong with the keys and values of one origin, with where they stand."""
    for key, entry in layer.items():
        if key not in KEYS:
            yield f"{entry.label}: unknown key"
            continue
        try:
            KEYS[key](entry.text)
        except ValueError as fault:
            yield f"{entry.label}: {fault}"


def color_faults(layer: Layer) -> Iterator[str]:
    """The same for the section of colours."""
    from bgtop.view.themes import paint_of, style_named

    for key, entry in layer.items():
        if key in KEYS:
            yield f"{entry.label}: {MISPLACED}"
            continue
        try:
            style_named(key)
            paint_of(entry.text)
        except ValueError as fault:
            yield f"{entry.label}: {fault}"


def values_of(*layers: Layer) -> dict[str, Any]:
    """The values of checked layers; of two with one key the later layer counts."""
    return {key: KEYS[key](entry.text) for layer in layers for key, entry in layer.items()}
