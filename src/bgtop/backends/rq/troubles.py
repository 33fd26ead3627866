"""What could not be read in one poll, in lines for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.raw_names import text
from bgtop.backends.redis_errors import first_told, unread

if TYPE_CHECKING:
    from bgtop.backends.redis_connection import Reply

_LONGEST_KEY = 120


class Troubles:
    """Collects refusals by key, so that many commands on one bad key make one line."""

    def __init__(self) -> None:
        self._refused: dict[bytes, ReplyError] = {}
        self._said: dict[str, None] = {}
        self.bad_times = 0
        """Jobs whose times cannot be understood."""

    def say(self, words: str) -> None:
        """Add a line, once."""
        self._said.setdefault(words)

    def number(self, key: bytes, reply: Reply) -> int | None:
        """The reply as a number; anything else is noted, and unknown."""
        if isinstance(reply, int):
            return reply
        self.note(key, reply)
        return None

    def members(self, key: bytes, reply: Reply) -> list[bytes] | None:
        """The reply as a list of strings; anything else is noted, and unknown."""
        if isinstance(reply, list):
            return [member for member in reply if isinstance(member, bytes)]
        self.note(key, reply)
        return None

    def note(self, key: bytes, reply: Reply) -> None:
        """Remember the refusal of a command on this key; other replies are no trouble."""
        if isinstance(reply, ReplyError):
            self._refused.setdefault(key, reply)

    def lines(self) -> tuple[str, ...]:
        """All of it, the general before the particular."""
        found = [*self._said]
        if self.bad_times:
            found.append(f"the times of {self.bad_times} jobs cannot be understood")
        return (*found, *first_told([*self._refused.items()], _refused, "keys"))


def _refused(refused: tuple[bytes, ReplyError]) -> str:
    key, refusal = refused
    name = text(key)
    shown = name if len(name) <= _LONGEST_KEY else name[: _LONGEST_KEY - 1] + "…"
    what = f"the key {shown!r}"
    return unread(what, refusal, f"{what} holds something else than RQ puts there")
