"""One job, whole, as text for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from bgtop.view.text import clean, duration

_LONGEST: Final = 20_000
"""Letters of a value; what a backend reads is shorter."""


def job_text(record: dict[str, Any]) -> str:
    """A line for each thing known; what has several lines stands below its name."""
    lines = [f"TASK {clean(record['id'], _LONGEST)}"]
    width = max(map(len, record))
    for key, value in record.items():
        if key == "id" or value in (None, [], {}):
            continue
        lines += _told(key, value, width)
    return "\n".join(lines) + "\n"


def _told(key: str, value: Any, width: int) -> Iterator[str]:
    if key == "facts":
        for name, text in value.items():
            yield from _told(clean(name), text, width)
    elif key.endswith("_seconds"):
        yield f"{key.removesuffix('_seconds'):<{width}} {duration(value)}"
    elif isinstance(value, list):
        yield f"{key:<{width}} {' '.join(clean(part) for part in value)}"
    elif isinstance(value, bool):
        if value:
            yield f"{key:<{width}} yes"
    else:
        lines = [clean(line, _LONGEST) for line in str(value).splitlines()] or [""]
        yield f"{key:<{width}} {lines[0]}".rstrip() if len(lines) == 1 else key
        yield from (f"    {line}" for line in lines if len(lines) > 1)
