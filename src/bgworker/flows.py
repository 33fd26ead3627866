"""Jobs that follow one another: chains, groups, and any mix of both, stored in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from bgworker.handle import Handle
from bgworker.model import JobSpec, Takes
from bgworker.states import JobState
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from bgworker.contracts import Dispatcher


@dataclass(frozen=True, slots=True)
class Call:
    """A task and its arguments, to be put into a chain or a group; see ``Task.s``.

    ``takes_result`` is whether it gets what comes before it as its first argument.
    """

    spec: Callable[[], JobSpec]
    dispatcher: Callable[[], Dispatcher]
    takes_result: bool = True


@dataclass(frozen=True, slots=True)
class Chain:
    """One after the other; each gets the result of the one before it as its first argument."""

    parts: tuple[Part, ...]

    def delay(self) -> Flow:
        """Store all of its jobs, or none."""
        return _store(self)


@dataclass(frozen=True, slots=True)
class Group:
    """All at once."""

    parts: tuple[Part, ...]

    def then(self, last: Part) -> Chain:
        """What is to follow when all have succeeded: it gets the list of their results."""
        return Chain((self, last))

    def delay(self) -> Flow:
        """Store all of its jobs, or none."""
        return _store(self)


Part: TypeAlias = "Call | Chain | Group"


def chain(*parts: Part | Iterable[Part]) -> Chain:
    """``chain(fetch.s(url), parse.s(), store.si("done"))``; ``.delay()`` stores it.

    A list of them is as good.

    What follows a group gets the list of its results. When a job does not succeed, none of those
    after it runs: they are cancelled with the reason ``ParentFailed``.
    """
    return Chain(_parts("chain", parts))


def group(*parts: Part | Iterable[Part]) -> Group:
    """``group(add.s(1, 2), add.s(3, 4)).then(total.s())``; ``.delay()`` stores it.

    ``group(add.s(n, n) for n in range(9))`` is as good.
    """
    return Group(_parts("group", parts))


class Flow:
    """The jobs of a stored chain or group."""

    def __init__(self, jobs: Sequence[Handle[Any]], last: _Before) -> None:
        self.jobs = tuple(jobs)
        """Handles on all of them, in the order they were written down."""
        self.last = tuple(jobs[place] for place in last.places)
        """Handles on those that nothing follows."""
        self._is_list = last.is_list

    @property
    def statuses(self) -> tuple[JobState, ...]:
        """Where each of :attr:`jobs` is now."""
        return tuple(job.status for job in self.jobs)

    def result(self, timeout: float | None = None) -> Any:
        """The last job's result, or the list of them where a group comes last.

        Raises:
            TimeoutError: they have not all ended within ``timeout`` seconds.
            JobFailed: one of them ended as failed, dead or cancelled.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        results = []
        for job in self.last:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            results.append(job.result(left))
        return results if self._is_list else results[0]


@dataclass(frozen=True, slots=True)
class _Before:
    """What a part follows: places of jobs, and whether their results make a list."""

    places: tuple[int, ...] = ()
    is_list: bool = False
    is_start: bool = True

    def takes(self) -> Takes:
        if self.is_start:
            return Takes.NOTHING
        return Takes.RESULTS if self.is_list else Takes.RESULT


def _store(flow: Chain | Group) -> Flow:
    specs: list[JobSpec] = []
    ends = _lay(flow, specs, _Before())
    calls = list(_calls(flow))
    dispatchers = {id(call.dispatcher()): call.dispatcher() for call in calls}
    if len(dispatchers) > 1:
        raise ValueError("the tasks of a chain or group must belong to one app")
    if not calls:
        raise ValueError("a chain or group needs at least one task")
    (dispatcher,) = dispatchers.values()
    return Flow([Handle(id_, dispatcher) for id_ in dispatcher.enqueue(specs)], ends)


def _lay(part: Part, specs: list[JobSpec], before: _Before) -> _Before:
    """Append the jobs of a part; what a next part would follow."""
    if isinstance(part, Call):
        spec = part.spec()
        if spec.after and before.places:
            raise ValueError(f"{spec.task}: inside a chain, after= is for its first jobs only")
        takes = before.takes() if part.takes_result else Takes.NOTHING
        specs.append(replace(spec, after=spec.after or before.places, takes=takes))
        return _Before((len(specs) - 1,), is_start=False)
    if isinstance(part, Chain):
        for step in part.parts:
            before = _lay(step, specs, before)
        return before
    places: list[int] = []
    for step in part.parts:
        places += _lay(step, specs, before).places
    return _Before(tuple(places), is_list=True, is_start=False)


def _calls(part: Part) -> list[Call]:
    if isinstance(part, Call):
        return [part]
    return [call for step in part.parts for call in _calls(step)]


def _parts(what: str, given: tuple[Part | Iterable[Part], ...]) -> tuple[Part, ...]:
    parts: Iterable[object] = given
    if len(given) == 1 and isinstance(given[0], Iterable):
        parts = given[0]
    found: list[Part] = []
    for part in parts:
        if not isinstance(part, (Call, Chain, Group)):
            kind = type(part).__name__
            raise TypeError(f"{what}() takes task.s(…), chains and groups, not {kind}")
        found.append(part)
    return tuple(found)
