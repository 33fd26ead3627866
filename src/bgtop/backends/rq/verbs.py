"""What cannot be done with RQ, and what can be done instead."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from bgtop.actions import Verb

_NO_PAUSE = (
    "RQ cannot pause one queue: 'rq suspend' lets all workers rest, and 'rq resume' work again"
)
WHY_NOT: Final = MappingProxyType(dict.fromkeys((Verb.PAUSE, Verb.RESUME), _NO_PAUSE))
