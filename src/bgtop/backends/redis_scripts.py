"""Actions on Redis: one script each, which the server runs wholly and while nobody else writes.

A script must look before it writes: what it wrote before an error stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.redis_errors import code_of
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.contracts import BackendError, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.redis_connection import Reply

KIND = """
local function is(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == kind or found == 'none'
end
"""
"""For the head of a script: whether a key can be written as this type."""


def run(
    link: RedisLink, script: str, keys: Sequence[bytes], values: Sequence[bytes | str | int] = ()
) -> Reply:
    """What the script returned.

    Raises:
        NotPermitted: when the server does not let us change this.
        BackendError: when the script failed, or the server cannot be used.
    """
    return checked(link, link.exchange(pack(("EVAL", script, len(keys), *keys, *values)))[0])


def checked(link: RedisLink, reply: Reply) -> Reply:
    """The reply to a command that changes something.

    Raises:
        NotPermitted: when it was refused for want of a right.
        BackendError: when it failed.
    """
    if not isinstance(reply, ReplyError):
        return reply
    place, code = link.address.place, code_of(reply)
    # A script tells of a command it may not use in the words of its own.
    if code == "NOPERM" or "ACL failure" in str(reply) or "can't run this command" in str(reply):
        raise NotPermitted(f"{place} does not let us change anything: see the rights for actions")
    if code == "READONLY":
        raise NotPermitted(f"{place} is a replica, which cannot be changed")
    if code == "OOM":
        raise BackendError(f"{place} has no memory left for a change")
    if code == "MISCONF":
        raise BackendError(f"{place} refuses changes: it cannot write to its disk")
    raise BackendError(f"{place} refused the change ({code})")
