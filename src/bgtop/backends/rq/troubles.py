"""What could not be read in one poll, in lines for the operator."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.raw_names import text
from bgtop.backends.redis_errors import code_of, is_wrong_type

if TYPE_CHECKING:
    from bgtop.backends.redis_connection import Reply

_MOST_KEYS = 5
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
        keys = [*self._refused]
        found += [_refused(key, self._refused[key]) for key in keys[:_MOST_KEYS]]
        if len(keys) > _MOST_KEYS:
            found.append(f"{len(keys) - _MOST_KEYS} more keys cannot be read")
        return tuple(found)


def _refused(key: bytes, refusal: ReplyError) -> str:
    name = text(key)
    shown = repr(name if len(name) <= _LONGEST_KEY else name[: _LONGEST_KEY - 1] + "…")
    if is_wrong_type(refusal):
        return f"the key {shown} holds something else than RQ puts there"
    if code_of(refusal) == "NOPERM":
        return f"the server does not let us read the key {shown}"
    return f"the key {shown} cannot be read ({code_of(refusal)})"
