"""What can be done to messages in Redis. Each script moves or removes whole messages, or nothing.

A message and its id are two keys, as Dramatiq keeps them (``brokers/redis/dispatch.lua``). What is
moved is first put where it belongs, and then taken from where it was: no error can lose it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from bgtop.actions import CancelJob, DeleteJob, Outcome, PurgeQueue, RequeueFailed, RetryJob
from bgtop.backends.dramatiq.places import LARGEST_BODY, Place, Scope
from bgtop.backends.dramatiq.stored_message import message_in, result_keys, sent_anew
from bgtop.backends.dramatiq.verbs import NOT_ON_REDIS
from bgtop.backends.dramatiq.wire import DEAD, DELAYED, MESSAGES
from bgtop.backends.performer import Performer
from bgtop.backends.raw_names import queue_named
from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_scripts import KIND, run
from bgtop.contracts import Absent, BackendError, NoSuchTarget, Unsupported
from bgtop.model import JobState

if TYPE_CHECKING:
    from bgtop.backends.dramatiq.finding import Finder
    from bgtop.backends.dramatiq.places import Stored

_TAKEN: Final = "a worker of Dramatiq has taken {id!r}, and nothing calls it back: stop that worker"

MOST_AT_A_TIME = 100_000
"""Dead letters of one queue that are sent again by one action; the first ones."""

LARGEST_CHANGED = 16 * 1024 * 1024
"""Bytes of a single message whose failures are forgotten; a larger one is moved as it is."""

DEAD_AT_ONCE = 250
WAITING_AT_ONCE = 1_000
"""Messages one script moves or removes: the server answers nobody else meanwhile."""

# Pairs of id and body; an empty body stands for the stored one. Nothing moves under a taken id.
_REVIVE: Final = (
    KIND
    + """
local dead, bodies, queue, messages = unpack(KEYS)
if not (is(queue, 'list') and is(messages, 'hash')) then return -1 end
local moved = 0
for i = 1, #ARGV, 2 do
  local id, body = ARGV[i], ARGV[i + 1]
  local stored = redis.call('HGET', bodies, id)
  local there = redis.call('ZSCORE', dead, id)
  if stored and there and redis.call('HEXISTS', messages, id) == 0 then
    if body == '' then body = stored end
    redis.call('HSET', messages, id, body)
    redis.call('RPUSH', queue, id)
    redis.call('ZREM', dead, id)
    redis.call('HDEL', bodies, id)
    moved = moved + 1
  end
end
return moved
"""
)
_DROP_DEAD: Final = """
local there = redis.call('ZREM', KEYS[1], ARGV[1])
if there == 1 then redis.call('HDEL', KEYS[2], ARGV[1]) end
return there
"""
_DROP_WAITING: Final = """
local there = redis.call('LREM', KEYS[1], 1, ARGV[1])
if there == 1 then redis.call('HDEL', KEYS[2], ARGV[1]) end
return there
"""
# From the head of the list up to the id that was the last when the purge began.
_PURGE: Final = """
local ids = redis.call('LRANGE', KEYS[1], 0, ARGV[2] - 1)
local count, last = 0, 0
for _, id in ipairs(ids) do
  redis.call('HDEL', KEYS[2], id)
  count = count + 1
  if id == ARGV[1] then last = 1 break end
end
if count > 0 then redis.call('LTRIM', KEYS[1], count, -1) end
return {count, last}
"""


class Actions(Performer[Scope]):
    """Carries actions out over one connection."""

    why_not = NOT_ON_REDIS

    def __init__(self, link: RedisLink, finder: Finder) -> None:
        self._link = link
        self._finder = finder

    def _found(self, identity: str, scope: Scope) -> Stored:
        stored = self._finder.find(self._link, scope, identity)
        if stored is not None:
            return stored
        if self._finder.cut_short:
            raise NoSuchTarget(f"no message {identity!r} among the first ones of all queues")
        raise Absent(f"there is no message {identity!r}")

    def _retry(self, action: RetryJob, scope: Scope) -> Outcome:
        identity = action.id
        stored = self._found(identity, scope)
        if stored.place.state is not JobState.DEAD:
            raise NoSuchTarget(f"the message {identity!r} is not dead: it is in its queue")
        body = stored.body
        if body is None and stored.size <= LARGEST_CHANGED:
            hash_of_it = stored.place.bodies(scope.keys)
            reply = self._link.exchange(pack(("HGET", hash_of_it, stored.place.id)))[0]
            body = reply if isinstance(reply, bytes) else None
        moved = self._revive(scope, stored.place.queue, [(stored.place.id, body)])
        if not moved:
            raise NoSuchTarget(f"the message {identity!r} is not dead any more")
        return Outcome(moved)

    def _cancel(self, action: CancelJob, scope: Scope) -> Outcome:
        place = self._found(action.id, scope).place
        if place.state is JobState.DEAD:
            raise NoSuchTarget(f"the message {action.id!r} is dead: it will not run")
        if place.holder is not None and action.terminate:
            raise Unsupported(_TAKEN.format(id=action.id))
        return self._drop(action.id, place, scope)

    def _delete(self, action: DeleteJob, scope: Scope) -> Outcome:
        identity = action.id
        stored = self._found(identity, scope)
        outcome = self._drop(identity, stored.place, scope)
        message = message_in(stored.body) if stored.body is not None else None
        self._finder.forget(identity)
        if message is None:
            return outcome
        # Its last failure may be kept as its result, by keys the rights may not reach.
        queue = scope.labels.get(stored.place.queue, "")
        keys = result_keys(queue, message.actor, message.id)
        if 1 in self._link.exchange(pack(*(("EXISTS", key) for key in keys))):
            deleted = self._link.exchange(pack(("DEL", *keys)))[0]
            if not isinstance(deleted, int):
                return Outcome(outcome.changed, "its result stays until it expires")
        return outcome

    def _drop(self, identity: str, place: Place, scope: Scope) -> Outcome:
        if place.holder is not None:
            raise NoSuchTarget(_TAKEN.format(id=identity))
        key = scope.keys.queue(place.queue)
        if place.state is JobState.DEAD:
            keys, script = [key + DEAD, key + DEAD + MESSAGES], _DROP_DEAD
        else:
            key += DELAYED if place.state is JobState.SCHEDULED else b""
            keys, script = [key, key + MESSAGES], _DROP_WAITING
        if not run(self._link, script, keys, [place.id]):
            raise NoSuchTarget(f"the message {identity!r} has just been taken by a worker")
        return Outcome(1)

    def _revive(self, scope: Scope, queue: bytes, dead: list[tuple[bytes, bytes | None]]) -> int:
        """Put these dead letters back into their queue; a body not known is moved as it is."""
        key, now = scope.keys.queue(queue), time.time()
        keys = [key + DEAD, key + DEAD + MESSAGES, key, key + MESSAGES]
        values = [v for one, body in dead for v in (one, sent_anew(body or b"", queue, now))]
        moved = run(self._link, _REVIVE, keys, values)
        if not isinstance(moved, int) or moved < 0:
            label = scope.labels.get(queue, "?")
            raise BackendError(f"the keys of the queue {label!r} are not of Dramatiq's types")
        return moved

    def _requeue(self, action: RequeueFailed, scope: Scope) -> Outcome:
        queues = [name for name in scope.numbers if action.queue in (None, scope.labels.get(name))]
        moved = 0
        for queue in queues:
            dead = scope.keys.queue(queue) + DEAD
            # Those dead as of now: what dies again meanwhile is not sent a second time.
            ids = self._link.exchange(pack(("ZRANGE", dead, 0, MOST_AT_A_TIME - 1)))[0]
            known = [one for one in ids if isinstance(one, bytes)] if isinstance(ids, list) else []
            for start in range(0, len(known), DEAD_AT_ONCE):
                page = self._bodies(dead + MESSAGES, known[start : start + DEAD_AT_ONCE])
                chosen = [one for one in page if action.task is None or _calls(one, action.task)]
                moved += self._revive(scope, queue, chosen) if chosen else 0
        return Outcome(moved)

    def _bodies(self, key: bytes, ids: list[bytes]) -> list[tuple[bytes, bytes | None]]:
        """With their bodies, where these are small enough to be looked into."""
        sizes = self._link.exchange(pack(*(("HSTRLEN", key, one) for one in ids)))
        fits = [isinstance(size, int) and 0 < size <= LARGEST_BODY for size in sizes]
        small = [one for one, fit in zip(ids, fits, strict=True) if fit]
        replies = self._link.exchange(pack(*(("HGET", key, one) for one in small))) if small else []
        known = {n: r for n, r in zip(small, replies, strict=True) if isinstance(r, bytes)}
        return [(one, known.get(one)) for one in ids]

    def _purge(self, action: PurgeQueue, scope: Scope) -> Outcome:
        key = scope.keys.queue(queue_named(action.queue, scope.labels))
        length, last = self._link.exchange(pack(("LLEN", key), ("LINDEX", key, -1)))
        if not isinstance(length, int) or not isinstance(last, bytes):
            return Outcome(0)
        removed = 0
        while removed < length:
            at_once = min(WAITING_AT_ONCE, length - removed)
            reply = run(self._link, _PURGE, [key, key + MESSAGES], [last, at_once])
            count, done = reply if isinstance(reply, list) else (0, 1)
            removed += count if isinstance(count, int) else 0
            if done or not count:
                break
        return Outcome(removed)


def _calls(dead: tuple[bytes, bytes | None], task: str) -> bool:
    message = message_in(dead[1] or b"")
    return message is not None and message.actor == task
