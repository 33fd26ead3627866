"""The releases that were tested: a finding says so where something else is at work."""

from __future__ import annotations

import re
from typing import Final

Version = tuple[int, int]

TESTED: Final[dict[str, tuple[Version, Version]]] = {
    "celery": ((4, 4), (5, 7)),
    "rq": ((1, 16), (3, 0)),
    "huey": ((2, 0), (3, 5)),
    "dramatiq": ((1, 17), (2, 2)),
    "arq": ((0, 25), (0, 28)),
    "redis": ((6, 0), (9, 1)),
    "rabbitmq": ((3, 10), (4, 3)),
}
"""The oldest and the newest tested release; of ``redis`` Valkey's numbers too."""

_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})")


def untested(product: str, words: str | None) -> str | None:
    """What was tested instead, if ``words`` begin with, or end in, another version."""
    found = _VERSION.search(words or "")
    if found is None or product not in TESTED:
        return None
    oldest, newest = TESTED[product]
    if oldest <= (int(found[1]), int(found[2])) <= newest:
        return None
    return f"tested are {oldest[0]}.{oldest[1]} to {newest[0]}.{newest[1]}"
