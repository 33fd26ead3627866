"""What can be done to Celery on Redis: each action is one transaction, or one broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from bgtop.actions import (
    CancelJob,
    DeleteJob,
    Outcome,
    PurgeQueue,
    RetryJob,
    is_for_workers,
)
from bgtop.backends.celery.grants import granted
from bgtop.backends.celery.retrying import retry
from bgtop.backends.celery.revoking import check_signal, revoke, tell
from bgtop.backends.celery.task_messages import for_redis
from bgtop.backends.celery.task_results import READY, job_of
from bgtop.backends.celery.verbs import ABORTED, unsupported
from bgtop.backends.celery.wire import STEPS
from bgtop.backends.raw_names import quoted
from bgtop.backends.redis_link import pack
from bgtop.contracts import Absent, BackendError, NoSuchTarget
from bgtop.model import JobReading, JobState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bgtop.actions import Action, WorkerAction
    from bgtop.backends.celery.catalog import Catalog, Queue
    from bgtop.backends.celery.control import Mailbox
    from bgtop.backends.celery.redis_jobs import Found, Jobs
    from bgtop.backends.celery.retrying import Again
    from bgtop.backends.celery.stored_messages import Head, Message
    from bgtop.backends.celery.task_results import Results, Stored
    from bgtop.backends.redis_link import RedisLink
    from bgtop.model import Reading
    from bgtop.worker_actions import AbortJob, SendTask

_STEP = 3
_SEND_ONCE = """
local at = redis.pcall('LPOS', KEYS[1], ARGV[1])
if type(at) == 'number' or redis.call('HEXISTS', KEYS[2], ARGV[2]) == 1 then return 0 end
return redis.call('LPUSH', KEYS[1], ARGV[1])
"""
"""LPOS is of Redis 6.0.6; without it only what a worker holds is not sent twice."""


class Actions:
    """Carries out actions on what was last seen of a broker."""

    def __init__(
        self,
        link: RedisLink,
        results: Results,
        catalog: Catalog,
        jobs: Jobs,
        mailboxes: Sequence[Mailbox],
        *,
        dead_after: float,
    ) -> None:
        self._link = link
        self._results = results
        self._catalog = catalog
        self._jobs = jobs
        self._mailboxes = mailboxes
        self._dead_after = dead_after

    def perform(
        self,
        action: Action,
        heads: Sequence[Head],
        queues: Mapping[str, Queue],
        reading: Reading,
    ) -> Outcome:
        """Do this; ``queues`` are known by the names they are shown under in ``reading``.

        Raises:
            BackendError: as :meth:`bgtop.contracts.Backend.perform` says.
        """
        if is_for_workers(action):
            return self._steer(action, queues, reading)
        match action:
            case PurgeQueue(queue=name):
                if name not in queues:
                    raise Absent(f"there is no queue {quoted(name)}")
                return self._purge(queues[name])
            case DeleteJob(id=job_id):
                return self._delete(job_id, self._jobs.find(job_id, heads, to_act=True))
            case CancelJob():
                return self._cancel(action, heads)
            case RetryJob(id=job_id):
                return retry(job_id, self._results, self._catalog.prefixes, self._send)
            case _:
                raise unsupported(action)

    def _steer(
        self, action: WorkerAction, queues: Mapping[str, Queue], reading: Reading
    ) -> Outcome:
        from bgtop.backends.celery.steering import Crew
        from bgtop.worker_actions import AbortJob, SendTask, SuspendWorkers, WakeWorkers

        match action:
            case AbortJob():
                return self._abort(action)
            case SendTask():
                return self._send_new(action, queues)
            case SuspendWorkers() | WakeWorkers():
                raise unsupported(action)
            case _:
                return Crew(self._mailboxes, reading, self._dead_after).tell(action)

    def _abort(self, action: AbortJob) -> Outcome:
        job_id = action.id
        stored = self._results.find(job_id, self._catalog.prefixes)
        if stored is None and not self._results.own:
            raise NoSuchTarget(
                f"the task {quoted(job_id)} has no result, by which it is asked; one without can "
                "be asked where the address names result_backend=URL"
            )
        if not self._results.abort(job_id, stored):
            raise NoSuchTarget(f"the task {quoted(job_id)} has ended")
        return Outcome(None, ABORTED)

    def _send_new(self, action: SendTask, queues: Mapping[str, Queue]) -> Outcome:
        from bgtop.backends.celery.sending import letter_of, queue_for

        letter, queue = letter_of(action), queues[queue_for(action, queues)]
        if letter.priority > max(STEPS):
            raise BackendError("on Redis a priority is 0 to 9")
        # The lists of kombu's own steps: nobody reads the others.
        key = queue.list_of(letter.priority // _STEP * _STEP)
        name = queue.name.decode("utf-8", "surrogateescape")
        raw = for_redis(letter.headers, letter.body, name, str(uuid4()), priority=letter.priority)
        granted(self._link.exchange(pack(("LPUSH", key, raw)))[0], self._link, "send a task")
        return Outcome(1, letter.words)

    def _purge(self, queue: Queue) -> Outcome:
        """LTRIM, because DEL would also delete what is no list."""
        lists = [queue.list_of(step) for step in (0, *STEPS)]
        commands = [step for key in lists for step in (("LLEN", key), ("LTRIM", key, 1, 0))]
        reply = self._link.exchange(pack(("MULTI",), *commands, ("EXEC",)))[-1]
        done = granted(reply, self._link, "purge a queue")
        counts = done[::2] if isinstance(done, list) else []
        known = [count for count in counts if isinstance(count, int)]
        if len(known) < len(lists):
            return Outcome(sum(known), "a key that is no list was left as it is")
        return Outcome(sum(known), "with what lay in it and was not due yet" if sum(known) else "")

    def _delete(self, job_id: str, found: Found) -> Outcome:
        if found.message is not None:
            if not self._take_out(found.message):
                raise NoSuchTarget(f"the task {quoted(job_id)} has just been taken from its queue")
            self._results.forget(found.stored)
            return Outcome(1)
        if found.delivery is not None:
            raise NoSuchTarget(
                f"a worker holds the task {quoted(job_id)} already: cancel it instead"
            )
        ended = _ended(job_id, found.stored)
        if ended is not None and self._results.forget(found.stored):
            return Outcome(1, "its result is deleted")
        raise _nowhere(job_id, found)

    def _cancel(self, action: CancelJob, heads: Sequence[Head]) -> Outcome:
        check_signal(action)
        found = self._jobs.find(action.id, heads, to_act=True)
        if found.message is not None:
            return self._withdraw(action, found.message, found.stored)
        there = found.delivery is not None
        ended = _ended(action.id, found.stored)
        return revoke(
            action,
            self._mailboxes,
            waits=True if there else False if found.complete else None,
            ended=None if ended is None else ended.state.value,
        )

    def _withdraw(self, action: CancelJob, message: Message, stored: Stored | None) -> Outcome:
        """Take a task out of its queue; whoever fetches it at this moment was told before."""
        told = tell(action, self._mailboxes)
        if self._take_out(message):
            try:
                self._results.revoke(action.id, stored)
            except BackendError as fault:
                return Outcome(1, f"it was taken out of its queue, and has no result: {fault}")
            return Outcome(1, "it was taken out of its queue")
        if not told.workers:
            raise NoSuchTarget(f"the task {quoted(action.id)} has just been taken from its queue")
        return Outcome(1, told.words)

    def _take_out(self, message: Message) -> bool:
        """Delete exactly this message, near the end at which it is the next."""
        request = pack(("LREM", message.head.key, -1, message.raw))
        reply = self._link.exchange(request)[0]
        return granted(reply, self._link, "take a task out of its queue") == 1

    def _send(self, again: Again) -> None:
        """Push a task that is to run again, unless it is there already."""
        name = again.queue.encode("utf-8", "surrogatepass")
        fitting = [queue for queue in self._catalog.queues.values() if queue.name == name]
        if len(fitting) != 1:
            many = "several applications have a" if fitting else "there is no"
            raise Absent(f"{many} queue {quoted(again.queue)}, by which it came")
        (queue,) = fitting
        raw = for_redis(again.headers, again.body, again.queue, again.tag)
        keys = (queue.key, queue.prefix + b"unacked")
        reply = self._link.exchange(pack(("EVAL", _SEND_ONCE, 2, *keys, raw, again.tag)))[0]
        granted(reply, self._link, "send a task")


def _ended(job_id: str, stored: Stored | None) -> JobReading | None:
    job = None if stored is None else job_of(job_id, stored, 1)
    return job if job is not None and job.state in READY else None


def _nowhere(job_id: str, found: Found) -> NoSuchTarget:
    job = None if found.stored is None else job_of(job_id, found.stored, 1)
    if job is not None and job.state is JobState.RUNNING:
        return NoSuchTarget(f"the task {quoted(job_id)} runs: cancel it with terminate")
    where = "in no queue" if found.complete else "not among the messages that were searched"
    return Absent(f"the task {quoted(job_id)} is {where}, and has no result")
