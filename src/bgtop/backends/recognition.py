"""Which systems the names of keys betray; pure, and common to all systems.

A name without ``*`` is asked for. Of names that fit a pattern a few are asked for their type, if
the mark names one: the application beside the job system may call its own keys what it likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bgtop.backends.raw_names import text
from bgtop.contracts import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.contracts import Mark

MOST_SUSPECTS = 100
"""Names asked for their type at once, of each backend; the others wait for the next pass."""

MOST_FINDINGS = 20
"""Systems of one kind that live side by side, told apart by an option, before no more are shown."""

LONGEST_NAME = 1_000
"""Bytes; no system makes longer keys of the kinds it is known by."""


class _Sign(NamedTuple):
    """A mark, its name cut at each ``*``."""

    backend: str
    mark: Mark
    parts: list[bytes]

    def fits(self, name: bytes) -> bool:
        """Whether a name consists of these parts with any text between them."""
        first, *middle, last = self.parts
        if not (name.startswith(first) and name.endswith(last)):
            return False
        start, end = len(first), len(name) - len(last)
        for part in middle:
            start = name.find(part, start, end) + len(part)
            if start < len(part):
                return False
        return start <= end

    def finding(self, name: bytes) -> Finding:
        """What a name that fits proves."""
        option = self.mark.option
        if option is None:
            return Finding(self.backend)
        start = len(self.parts[0])
        end = name.find(self.parts[1], start) if self.parts[1] else len(name)
        return Finding(self.backend, ((option, text(name[start:end])),))


class Recognition:
    """What was found so far, and which names to ask about next."""

    def __init__(self, marks: Mapping[str, Sequence[Mark]]) -> None:
        signs = [
            _Sign(name, mark, mark.name.encode().split(b"*"))
            for name in marks
            for mark in marks[name]
        ]
        self._named: dict[bytes, list[_Sign]] = {}
        for sign in signs:
            if len(sign.parts) == 1:
                self._named.setdefault(sign.parts[0], []).append(sign)
        self._searched = [sign for sign in signs if len(sign.parts) > 1]
        self._heads = tuple(sign.parts[0] for sign in self._searched if sign.parts[0])
        self._needles = [max(sign.parts, key=len) for sign in self._searched if not sign.parts[0]]
        self._suspects: dict[bytes, tuple[Finding, str | None]] = {}
        self._found: dict[Finding, None] = {}

    @property
    def found(self) -> tuple[Finding, ...]:
        """Everything recognised so far."""
        return tuple(self._found)

    @property
    def suspects(self) -> list[bytes]:
        """Keys whose type decides."""
        return list(self._suspects)

    def questions(self) -> list[bytes]:
        """Keys whose type is to be asked for now: those known by name, and the suspects."""
        named = [
            key
            for key, signs in self._named.items()
            if any(Finding(sign.backend) not in self._found for sign in signs)
        ]
        return [*named, *self._suspects]

    def answer(self, key: bytes, kind: str) -> None:
        """Take the type of a key that was asked for; ``none`` when there is no such key."""
        accused = [(Finding(sign.backend), sign.mark.type) for sign in self._named.get(key, ())]
        if key in self._suspects:
            accused.append(self._suspects.pop(key))
        for finding, wanted in accused:
            if kind != "none" and wanted in {None, kind}:
                self._accept(finding)

    def look_at(self, names: Sequence[bytes]) -> None:
        """Hold the names of existing keys against every pattern."""
        # Nearly all keys are none of ours, and there may be millions: first what costs little.
        unusual = {name for name in names if name.startswith(self._heads)}
        for needle in self._needles:
            unusual.update([name for name in names if needle in name])
        for name in sorted(unusual):
            if len(name) <= LONGEST_NAME and name not in self._named:
                for sign in self._searched:
                    if sign.fits(name):
                        self._suspect(sign, name)

    def _suspect(self, sign: _Sign, name: bytes) -> None:
        finding = sign.finding(name)
        if finding in self._found:
            return
        if sign.mark.type is None:
            self._accept(finding)
        elif sum(it.backend == sign.backend for it, _ in self._suspects.values()) < MOST_SUSPECTS:
            self._suspects[name] = finding, sign.mark.type

    def _accept(self, finding: Finding) -> None:
        siblings = sum(it.backend == finding.backend for it in self._found)
        if siblings < MOST_FINDINGS:
            self._found[finding] = None
        decided = [name for name, (it, _) in self._suspects.items() if it == finding]
        for name in decided:
            del self._suspects[name]
