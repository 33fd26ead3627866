"""How measures are called in trees of names and with tags. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bgtop.state.measures import Labels, Spec

TAGS: Final = ("datadog", "influx", "graphite")

_MOST_NAMES: Final = 20_000
"""That are kept: some 10 MB. Bounded labels make a tenth of it, unless queues come and go."""

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_-]")
_DATADOG: Final = re.compile(r"[^\w\-:/.]", re.ASCII)
_INFLUX: Final = re.compile(r"[^\w\-/.@+]", re.ASCII)
_GRAPHITE: Final = re.compile(r"[^\w\-/.@+~]", re.ASCII)


def part(text: str) -> str:
    """One part of a path: a dot in it would make a level of the tree."""
    return _UNSAFE.sub("_", text.replace("/", "-")) or "unknown"


@dataclass(frozen=True, slots=True)
class Naming:
    """Names in one style: ``tags`` is one of :data:`TAGS`, or ``None`` for paths."""

    prefix: str
    tags: str | None = None
    _made: dict[tuple[str, Labels], Named | None] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def of(self, spec: Spec, labels: Labels) -> Named | None:
        """What this value is called; ``None`` for what is told to Prometheus only."""
        key = (spec.name, labels)
        if key not in self._made:
            if len(self._made) >= _MOST_NAMES:
                self._made.clear()
            self._made[key] = self._make(spec, labels)
        return self._made[key]

    def _make(self, spec: Spec, labels: Labels) -> Named | None:
        found = dict(zip(spec.labels, labels, strict=True))
        if spec.path is None or spec.tagged is None:
            return None
        if self.tags is None:
            return Named(f"{self.prefix}.{_filled(spec.path, found)}", "")
        name = f"{self.prefix}.{_filled(spec.tagged, found)}"
        rest = {key: text for key, text in found.items() if f"{{{key}}}" not in spec.tagged}
        return self._with_tags(name, {key: text for key, text in rest.items() if text})

    def _with_tags(self, name: str, tags: Mapping[str, str]) -> Named:
        if self.tags == "datadog":
            pairs = ",".join(f"{key}:{_DATADOG.sub('_', text)}" for key, text in tags.items())
            return Named(name, f"|#{pairs}" if pairs else "")
        if self.tags == "influx":
            pairs = "".join(f",{key}={_INFLUX.sub('_', text)}" for key, text in tags.items())
        else:
            pairs = "".join(f";{key}={_graphite(text)}" for key, text in tags.items())
        return Named(name + pairs, "")


class Named(NamedTuple):
    """What stands before a value, and what stands at the end of the line."""

    before: str
    after: str

    def longer(self, ending: str) -> Named:
        """The same with one more part at the end of its name."""
        name, semicolon, tags = self.before.partition(";")
        return Named(f"{name}.{ending}{semicolon}{tags}", self.after)


def _filled(template: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: part(labels[found[1]]), template)


def _graphite(text: str) -> str:
    clean = _GRAPHITE.sub("_", text)
    return f"_{clean[1:]}" if clean.startswith("~") else clean


def checked_prefix(prefix: str) -> str:
    """A prefix of parts with dots between; raises ``ValueError`` for what would be another name."""
    if not prefix or any(part(word) != word or not word for word in prefix.split(".")):
        raise ValueError(f"prefix {prefix!r} is not made of letters, digits, _ and - with dots")
    return prefix
