"""The configuration file: sections of ``key = value`` lines that remember where they stand.

The format is INI as ``configparser`` reads it, without interpolation and continuation lines: a
password may hold any character, and a fault can be reported with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from bgworker.values import dataclass

DEFAULT: Final = "DEFAULT"

_LINE: Final = re.compile(r"\bline (\d+):")


@dataclass(frozen=True, slots=True)
class Entry:
    """A value as it was written, and what messages call it: a line and a key, an option."""

    text: str
    label: str


Layer: TypeAlias = Mapping[str, Entry]
"""Settings of one origin by key."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """Sections by name, and what could not be understood."""

    sections: Mapping[str, Layer]
    faults: tuple[str, ...] = ()


def read_sections(text: str, name: str) -> ConfigFile:
    """Read a file's text; ``name`` is what messages call it."""
    sections: dict[str, dict[str, Entry]] = {}
    faults: list[str] = []
    section = DEFAULT
    for number, line in _lines(text):
        place = f"{name}, line {number}"
        if line.startswith("["):
            section = line[1:-1].strip()
            if not line.endswith("]") or not section:
                faults.append(f"{place}: a section is written [NAME]")
            sections.setdefault(section, {})
            continue
        key, sign, value = _pair(line)
        if not sign or not key:
            faults.append(f"{place}: neither a section nor key = value")
        elif key in sections.setdefault(section, {}):
            faults.append(f"{place}: {key} is there twice in [{section}]")
        else:
            sections[section][key] = Entry(value, f"{place}: {key}")
    return ConfigFile(sections, tuple(faults))


def in_order(*faults: str) -> list[str]:
    """The faults of one file as somebody meets them who goes through it."""

    def line_of(fault: str) -> int:
        found = _LINE.search(fault)
        return int(found[1]) if found else 0

    return sorted(faults, key=line_of)


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if line and not line.startswith(("#", ";")):
            yield number, line


def _pair(line: str) -> tuple[str, str, str]:
    """Key, separator and value; the first ``=`` or ``:`` separates."""
    cuts = [cut for cut in (line.find("="), line.find(":")) if cut >= 0]
    if not cuts:
        return line, "", ""
    cut = min(cuts)
    return line[:cut].strip().lower(), line[cut], line[cut + 1 :].strip()
