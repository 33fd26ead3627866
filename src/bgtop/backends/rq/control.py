"""What can be done to RQ: each change is one script, or a command that a worker listens to."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.actions import (
    CancelJob,
    DeleteJob,
    Outcome,
    PurgeQueue,
    RequeueFailed,
    RetryJob,
    Verb,
)
from bgtop.backends.performer import Performer
from bgtop.backends.raw_names import queue_named, quoted, text
from bgtop.backends.redis_link import pack
from bgtop.backends.redis_scripts import checked
from bgtop.backends.rq import scripts, wire
from bgtop.backends.rq.job_wire import of_decent_size
from bgtop.backends.rq.verbs import WHY_NOT
from bgtop.contracts import Absent, NoSuchTarget, WrongSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.actions import WorkerAction
    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_link import RedisLink
    from bgtop.backends.redis_search import Command

_AT_ONCE = 200
"""Jobs of one script: the server does nothing else meanwhile."""
_PAGE = 5_000
_ONE_MORE = "a worker that waits for a job at this moment takes one more"
_KILLED = "it kills the process that runs its job: the job fails"
_WORDS = {
    "none": "is not there",
    "gone": "was taken by somebody else at this moment",
    "rate_limit": "has a rate limit, which only RQ itself can keep: use RQ's own commands",
    "wrong": "stands where keys hold something else than RQ puts there",
    "queued": "is queued",
    "deferred": "waits for other jobs",
    "scheduled": "is not due yet",
    "started": "is running",
    "failed": "has failed",
    "stopped": "was stopped",
    "finished": "has finished",
    "canceled": "is cancelled",
}


class Control(Performer[Mapping[bytes, str]]):
    """Carries actions out in the queues there are, which are given with their labels."""

    why_not = WHY_NOT

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def _retry(self, action: RetryJob, scope: Mapping[bytes, str]) -> Outcome:  # noqa: ARG002
        id_ = _raw(action.id)
        (word,) = self._words(scripts.RETRY, _now(), id_)
        if word != "done":
            raise _refusal(id_, word)
        return Outcome(1)

    def _cancel(self, action: CancelJob, scope: Mapping[bytes, str]) -> Outcome:  # noqa: ARG002
        id_ = _raw(action.id)
        (word,) = self._words(scripts.CANCEL, id_, f"{time.time():.6f}")
        if word == "done":
            return Outcome(1)
        if word == "canceled":
            return Outcome(0, "it was cancelled already")
        if word == "started" and action.terminate:
            return self._stop(id_)
        raise _refusal(id_, word)

    def _stop(self, id_: bytes) -> Outcome:
        """Tell its worker; that one looks whether it is still at this job."""
        (fields,) = self._told(("HMGET", wire.JOB + id_, "status", "worker_name"))
        match fields:
            case [b"started", bytes(worker)] if worker:
                command = json.dumps({"command": "stop-job", "job_id": text(id_)})
                (heard,) = self._told(("PUBLISH", wire.CHANNEL + worker, command))
                if not heard:
                    raise NoSuchTarget(f"the worker of job {text(id_)!r} is gone")
                return Outcome(1, "its worker was told to stop it")
        raise NoSuchTarget(f"job {text(id_)!r} is not running any more")

    def _delete(self, action: DeleteJob, scope: Mapping[bytes, str]) -> Outcome:  # noqa: ARG002
        id_ = _raw(action.id)
        (waiting,) = self._ask([("SCARD", wire.JOB + id_ + b":dependents")])
        (word,) = self._words(scripts.DELETE, id_)
        if word != "done":
            raise _refusal(id_, word)
        left = waiting if isinstance(waiting, int) else 0
        wait = "1 job waits" if left == 1 else f"{left} jobs wait"
        return Outcome(1, f"{wait} for it, and now for ever" if left else "")

    def _requeue(self, action: RequeueFailed, scope: Mapping[bytes, str]) -> Outcome:
        chosen = [raw for raw, label in scope.items() if action.queue in {None, label}]
        done = stay = 0
        for raw in chosen:
            ids = self._failed(raw)
            for start in range(0, len(ids), _AT_ONCE):
                some = ids[start : start + _AT_ONCE]
                some = some if action.task is None else self._of_task(some, action.task)
                words = self._words(scripts.RETRY, _now(), *some) if some else []
                done += words.count("done")
                stay += words.count("rate_limit") + words.count("wrong")
        return Outcome(done, f"{stay} cannot be: RQ itself may" if stay else "")

    def _failed(self, queue: bytes) -> list[bytes]:
        """The jobs that have failed by now: who fails again meanwhile is not tried again."""
        found: list[bytes] = []
        while True:
            first = len(found)
            key = wire.FAILED + queue
            (page,) = self._told(("ZRANGE", key, first, first + _PAGE - 1))
            ids = [id_ for id_ in page if isinstance(id_, bytes)] if isinstance(page, list) else []
            found += ids
            if len(ids) < _PAGE:
                return list(dict.fromkeys(found))

    def _of_task(self, ids: Sequence[bytes], task: str) -> list[bytes]:
        sizes = self._ask([("HSTRLEN", wire.JOB + id_, "description") for id_ in ids])
        known = [id_ for id_, size in zip(ids, sizes, strict=True) if of_decent_size(size)]
        words = self._ask([("HGET", wire.JOB + id_, "description") for id_ in known])
        pairs = zip(known, words, strict=True)
        return [id_ for id_, said in pairs if wire.task_name(said) == task]

    def _purge(self, action: PurgeQueue, scope: Mapping[bytes, str]) -> Outcome:
        """What is there now, from the front; what comes in meanwhile stays."""
        queue = queue_named(action.queue, scope)
        (left,) = self._told(("LLEN", wire.QUEUE + queue))
        gone = 0
        while isinstance(left, int) and left > 0:
            (count,) = self._run(scripts.PURGE, queue, min(left, _AT_ONCE))
            if not isinstance(count, int) or count == 0:
                break
            gone += count
            left -= count
        return Outcome(gone)

    def _steer(self, action: WorkerAction, scope: Mapping[bytes, str]) -> Outcome:  # noqa: ARG002
        if action.verb in {Verb.SUSPEND, Verb.WAKE}:
            return self._rest(suspended=action.verb is Verb.SUSPEND)
        return self._tell(action)

    def _rest(self, *, suspended: bool) -> Outcome:
        """By the key that each worker of this Redis looks at before it takes a job."""
        if suspended:
            # It also takes away the time after which the key would have gone by itself.
            (was,) = self._told(("GETSET", wire.SUSPENDED, 1))
            return Outcome(0, "they rest already") if was else Outcome(1, _ONE_MORE)
        (gone,) = self._told(("DEL", wire.SUSPENDED))
        return Outcome(1) if gone else Outcome(0, "they do not rest")

    def _tell(self, action: WorkerAction) -> Outcome:
        """By the channel each worker listens to; with ``restart`` it kills what runs its job."""
        worker = str(getattr(action, "worker", None))
        raw, name = worker.encode("utf-8", "replace"), quoted(worker)
        key = wire.WORKER + raw
        # Newer releases keep a set of what runs, older ones the id of the job.
        known, job, running = self._ask(
            [
                ("SISMEMBER", wire.WORKERS, key),
                ("HGET", key, "current_job"),
                ("SCARD", key + b":executions"),
            ]
        )
        if not checked(self._link, known):
            raise Absent(f"there is no worker {name}")
        ends = action.verb is Verb.SHUTDOWN
        if not ends and not (isinstance(job, bytes) and job) and running == 0:
            return Outcome(0, "it runs no job")
        command = json.dumps({"command": "shutdown" if ends else "kill-horse"})
        (heard,) = self._told(("PUBLISH", wire.CHANNEL + raw, command))
        if not heard:
            raise NoSuchTarget(f"worker {name} is offline: nobody listens under that name")
        words = "it finishes its job, and then ends" if ends else _KILLED
        return Outcome(1, words)

    def _words(self, script: str, *arguments: bytes | str) -> list[str]:
        (reply,) = self._run(script, *arguments)
        words = reply if isinstance(reply, list) else [reply]
        return [text(word) if isinstance(word, bytes) else "none" for word in words]

    def _run(self, script: str, *arguments: bytes | str | int) -> list[Reply]:
        return self._told(("EVAL", script, 0, *arguments))

    def _ask(self, commands: Sequence[Command]) -> list[Reply]:
        return self._link.exchange(pack(*commands)) if commands else []

    def _told(self, command: Command) -> list[Reply]:
        """One reply; a refusal is raised in words."""
        (reply,) = self._ask([command])
        if isinstance(reply, ReplyError) and "WRONGTYPE" in str(reply):
            raise WrongSource("a key holds something else than RQ puts there: nothing was changed")
        return [checked(self._link, reply)]


def _refusal(id_: bytes, word: str) -> NoSuchTarget:
    kind = Absent if word == "none" else NoSuchTarget
    return kind(f"job {quoted(text(id_))} {_WORDS.get(word, 'is in no state for that')}")


def _raw(id_: str) -> bytes:
    """The id as it is in keys; raises :class:`NoSuchTarget` for what can be no id."""
    raw = id_.encode("utf-8", "replace")
    if wire.job_key(raw) is None:
        raise _refusal(raw, "none")
    return raw


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
