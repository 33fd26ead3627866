"""What can be done to tasks in Redis: revoke, remove, purge; each is one step of the server.

Huey's own way to cancel is a mark ``r:<id>`` among the results, which a consumer finds that takes
the task (``api.py``, ``storage.py`` of Huey 2.5 and 3.5). Where results are kept depends on the
class the application uses, and one that has no results yet does not show which it is. Then both
places are marked, one of them for a while only.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bgtop.actions import CancelJob, DeleteJob, Outcome, PurgeQueue, RetryJob
from bgtop.backends.huey.looking import MOST_RESULTS_TRIED, Scope, key_of
from bgtop.backends.huey.messages import revocation
from bgtop.backends.huey.rows import CUT_SHORT, NOT_REVOKED, REVOKED, TAKEN, revocable
from bgtop.backends.huey.verbs import WHY_NOT
from bgtop.backends.huey.wire import EXPIRING, RESULTS, WAITING
from bgtop.backends.performer import Performer
from bgtop.backends.raw_names import queue_named
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_scripts import checked, run
from bgtop.contracts import NoSuchTarget, Unsupported

if TYPE_CHECKING:
    from bgtop.backends.huey.looking import Looking
    from bgtop.backends.huey.rows import Stored
    from bgtop.backends.redis_search import Command

SECONDS_OF_A_GUESS = 30 * 24 * 3600
"""How long a mark stays where it may be looked for by nobody, after its task was due."""

_STEPS_OF_SEARCH = 100
_KEYS_PER_STEP = 1_000

_PURGE: Final = """
local kind = redis.call('TYPE', KEYS[1]).ok
local count = 0
if kind == 'list' then count = redis.call('LLEN', KEYS[1])
elseif kind == 'zset' then count = redis.call('ZCARD', KEYS[1])
elseif kind ~= 'none' then return -1 end
redis.call('UNLINK', KEYS[1])
return count
"""


class Actions(Performer[Scope]):
    """Carries actions out over one connection."""

    why_not = WHY_NOT

    def __init__(self, link: RedisLink, looking: Looking) -> None:
        self._link = link
        self._looking = looking

    def _cancel(self, action: CancelJob, scope: Scope) -> Outcome:
        stored = self._looking.find(action.id, scope)
        if stored is None:
            if action.terminate and self._runs(action.id, scope):
                raise Unsupported("Huey cannot stop a task that runs: stop its consumer")
            raise self._missing(action.id)
        task, coding = stored.task, revocable(stored)
        mark = b"r:" + action.id.encode("utf-8", "surrogatepass")
        value = revocation(coding)
        in_hash = ("HSET", RESULTS + stored.queue, mark, value)
        as_key: Command = ("SET", EXPIRING + stored.queue + b"." + mark, value)
        expires = self._keeps_results_in_keys(stored.queue)
        if expires is None:
            due = task.eta.timestamp() if task is not None and task.eta is not None else 0.0
            seconds = int(max(due - time.time(), 0.0)) + SECONDS_OF_A_GUESS
            pair = (("MULTI",), in_hash, (*as_key, "EX", seconds), ("EXEC",))
            for reply in self._link.exchange(pack(*pair)):
                checked(self._link, reply)
        else:
            checked(self._link, self._link.exchange(pack(as_key if expires else in_hash))[0])
        return Outcome(1, REVOKED)

    def _retry(self, action: RetryJob, scope: Scope) -> Outcome:
        """Take the mark of a revoked task away, wherever it is: Huey's ``restore``."""
        stored = self._looking.find(action.id, scope)
        if stored is None:
            raise self._missing(action.id)
        mark = b"r:" + action.id.encode("utf-8", "surrogatepass")
        commands = (
            ("HDEL", RESULTS + stored.queue, mark),
            ("DEL", EXPIRING + stored.queue + b"." + mark),
        )
        replies = [checked(self._link, reply) for reply in self._link.exchange(pack(*commands))]
        if 1 not in replies:
            raise NoSuchTarget(NOT_REVOKED.format(id=action.id))
        return Outcome(1)

    def _keeps_results_in_keys(self, queue: bytes) -> bool | None:
        """Whether a result proves that each has a key of its own; ``None`` without any result."""
        reply = self._link.exchange(pack(("HSCAN", RESULTS + queue, 0, "COUNT", 10)))[0]
        fields = reply[1] if isinstance(reply, list) and len(reply) == 2 else []
        names = fields[::2] if isinstance(fields, list) else []
        if any(isinstance(name, bytes) and not name.startswith(b"r:") for name in names):
            return False
        prefix = EXPIRING + queue + b"."
        cursor: bytes | int = 0
        for _ in range(_STEPS_OF_SEARCH):
            pattern = _literal(prefix) + b"*"
            command = ("SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_PER_STEP)
            step = self._link.exchange(pack(command))[0]
            if not isinstance(step, list) or len(step) != 2 or not isinstance(step[1], list):
                return None
            keys = [key for key in step[1] if isinstance(key, bytes)]
            ids = [key[len(prefix) :] for key in keys]
            # With a dot it belongs to a queue whose name begins like this one, or is a lock.
            if any(not name.startswith(b"r:") and b"." not in name for name in ids):
                return True
            if step[0] == b"0" or not isinstance(step[0], bytes):
                return None
            cursor = step[0]
        return None

    def _delete(self, action: DeleteJob, scope: Scope) -> Outcome:
        identity = action.id
        stored = self._looking.find(identity, scope)
        if stored is not None:
            return self._remove(identity, stored, scope)
        queues = [*scope.labels][:MOST_RESULTS_TRIED]
        name = identity.encode("utf-8", "surrogatepass")
        for queue in self._looking.results(identity, queues):
            commands = (("HDEL", RESULTS + queue, name), ("DEL", EXPIRING + queue + b"." + name))
            replies = [checked(self._link, r) for r in self._link.exchange(pack(*commands))]
            if 1 in replies:
                return Outcome(1, "its result is forgotten")
        raise self._missing(identity)

    def _remove(self, identity: str, stored: Stored, scope: Scope) -> Outcome:
        key, is_list = key_of(stored, scope)
        assert isinstance(stored.key, bytes)  # noqa: S101  # in Redis it is an element
        command: Command = ("LREM", key, -1, stored.key) if is_list else ("ZREM", key, stored.key)
        if not checked(self._link, self._link.exchange(pack(command))[0]):
            raise NoSuchTarget(f"the task {identity!r} has just been taken by a consumer")
        return Outcome(1)

    def _purge(self, action: PurgeQueue, scope: Scope) -> Outcome:
        queue = queue_named(action.queue, scope.labels)
        count = run(self._link, _PURGE, [WAITING + queue])
        if not isinstance(count, int) or count < 0:
            label = scope.labels[queue]
            raise NoSuchTarget(f"the key of the queue {label!r} is not of a type that Huey writes")
        return Outcome(count)

    def _runs(self, identity: str, scope: Scope) -> bool:
        return any(t.id == identity for worker in scope.workers for t in worker.current or ())

    def _missing(self, identity: str) -> NoSuchTarget:
        words = CUT_SHORT if self._looking.cut_short else TAKEN
        return NoSuchTarget(words.format(id=identity))


def _literal(prefix: bytes) -> bytes:
    """For a pattern of SCAN."""
    for special in (b"\\", b"*", b"?", b"["):
        prefix = prefix.replace(special, b"\\" + special)
    return prefix
