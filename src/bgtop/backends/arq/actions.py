"""What can be done to jobs of arq. Each script changes whole jobs, or nothing.

A worker marks a job as its own by ``arq:in-progress:<id>`` before it begins; what has this mark is
left to it. Its data is deleted with a job, so that one that was about to be taken does not run.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from bgtop.actions import WORKER_VERBS, CancelJob, DeleteJob, Outcome, PurgeQueue, Verb
from bgtop.backends.arq.looking import Scope
from bgtop.backends.arq.wire import ABORTS, IN_PROGRESS, JOB, RESULT, RETRY
from bgtop.backends.performer import Performer
from bgtop.backends.raw_names import queue_named
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_scripts import checked, run
from bgtop.contracts import Absent, NoSuchTarget

if TYPE_CHECKING:
    from bgtop.backends.arq.looking import Looking

AT_ONCE = 1_000
"""Jobs one script deletes: the server answers nobody else meanwhile."""

_DROP: Final = """
local queue, progress, job, retry = unpack(KEYS)
if redis.call('EXISTS', progress) == 1 then return -1 end
local there = redis.call('ZREM', queue, ARGV[1])
if there == 1 then redis.call('DEL', job, retry) end
return there
"""
_ABORT: Final = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return 1
"""
_PURGE: Final = """
local ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', ARGV[2], ARGV[3])
local removed = 0
for _, id in ipairs(ids) do
  if redis.call('EXISTS', ARGV[4] .. id) == 0 then
    redis.call('ZREM', KEYS[1], id)
    redis.call('DEL', ARGV[5] .. id, ARGV[6] .. id)
    removed = removed + 1
  end
end
return {removed, #ids}
"""
_NO_RETRY: Final = "arq forgets what a job called once it has ended: enqueue it again"
_NO_PAUSE: Final = "arq cannot pause a queue: stop its workers"
_NO_SEND: Final = "a job of arq holds Python's own data: enqueue it from the application"
_NO_ABORT: Final = "arq asks a job to end where it is cancelled with terminate"
_NO_STEERING: Final = "arq's workers listen to nobody: stop them, and start them as they should be"
_ASKED: Final = "its worker was asked to stop it, which it does if it has allow_abort_jobs"


class Actions(Performer[Scope]):
    """Carries actions out over one connection."""

    why_not = MappingProxyType(
        {
            **dict.fromkeys((Verb.RETRY, Verb.REQUEUE), _NO_RETRY),
            **dict.fromkeys((Verb.PAUSE, Verb.RESUME), _NO_PAUSE),
            **dict.fromkeys(WORKER_VERBS, _NO_STEERING),
            Verb.SEND: _NO_SEND,
            Verb.ABORT: _NO_ABORT,
        }
    )

    def __init__(self, link: RedisLink, looking: Looking) -> None:
        self._link = link
        self._looking = looking

    def _cancel(self, action: CancelJob, scope: Scope) -> Outcome:
        dropped = self._drop(action.id, scope)
        if dropped == 1:
            return Outcome(1)
        if dropped == 0:
            raise NoSuchTarget(f"no job {action.id!r} waits, is scheduled or runs")
        if not action.terminate:
            raise NoSuchTarget(f"the job {action.id!r} runs already: terminate it, or let it end")
        raw = action.id.encode("utf-8", "surrogatepass")
        if not run(self._link, _ABORT, [IN_PROGRESS + raw, ABORTS], [raw, scope.now_ms]):
            raise NoSuchTarget(f"the job {action.id!r} has just ended")
        return Outcome(None, _ASKED)

    def _delete(self, action: DeleteJob, scope: Scope) -> Outcome:
        identity = action.id
        dropped = self._drop(identity, scope)
        if dropped < 0:
            raise NoSuchTarget(f"the job {identity!r} runs: it can be deleted when it has ended")
        result = RESULT + identity.encode("utf-8", "surrogatepass")
        forgotten = checked(self._link, self._link.exchange(pack(("DEL", result)))[0])
        if not dropped and not forgotten:
            raise Absent(f"there is no job {identity!r}")
        return Outcome(1, "" if dropped else "its result is forgotten")

    def _drop(self, identity: str, scope: Scope) -> int:
        """1 when it was removed from its queue, 0 when it is in none, -1 when it runs."""
        entry = self._looking.find(identity, scope)
        if entry is None:
            return 0
        own = [prefix + entry.id for prefix in (IN_PROGRESS, JOB, RETRY)]
        dropped = run(self._link, _DROP, [entry.queue, *own], [entry.id])
        return dropped if isinstance(dropped, int) else 0

    def _purge(self, action: PurgeQueue, scope: Scope) -> Outcome:
        queue = queue_named(action.queue, scope.labels)
        removed = offset = 0
        while True:
            # Due by now: what is enqueued meanwhile stays.
            values: list[bytes | int] = [scope.now_ms, offset, AT_ONCE, IN_PROGRESS, JOB, RETRY]
            reply = run(self._link, _PURGE, [queue], values)
            gone, seen = reply if isinstance(reply, list) and len(reply) == 2 else (0, 0)
            if not isinstance(gone, int) or not isinstance(seen, int):
                break
            removed += gone
            offset += seen - gone
            if seen < AT_ONCE:
                break
        return Outcome(removed)
