"""What a Redis server answers to the commands of an action, and what its refusals mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.celery.task_messages import one_line
from bgtop.backends.redis_errors import code_of, server_fault
from bgtop.contracts import BackendError, NotPermitted

if TYPE_CHECKING:
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import RedisLink


def granted(reply: Reply, link: RedisLink, what: str) -> Reply:
    """The reply, if it is no refusal; ``what`` completes “does not let us …”.

    Raises:
        BackendError: that says what was refused, and why.
    """
    if not isinstance(reply, ReplyError):
        return reply
    place, words = link.address.place, one_line(str(reply))
    if (fault := server_fault(reply, place)) is not None:
        raise fault
    if code_of(reply) in {"NOPERM", "EXECABORT"}:
        raise NotPermitted(f"{place} does not let us {what}: {words}")
    raise BackendError(f"{place} did not {what}: {words}")
