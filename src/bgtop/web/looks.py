"""Looks: what is only read when somebody asks, and how a frame shows the answers. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from bgtop.model import (
    Capability,
    Frame,
    JobList,
    JobQuery,
    Reading,
    ScheduleReading,
    Source,
    TaskTypeReading,
)
from bgworker.values import dataclass, replace

if TYPE_CHECKING:
    from bgtop.contracts import Interest
    from bgtop.symptoms import Finding
    from bgtop.task_events import EventsReading

PARTS: Final[Mapping[str, Capability | None]] = {
    "task_types": Capability.TASK_TYPES,
    "schedules": Capability.SCHEDULES,
    "events": Capability.EVENTS,
    "checkup": None,
}
"""Fields of an interest, and what a system has to be able to tell."""


class Look(NamedTuple):
    """Something asked of one source: some jobs, or one of its :data:`PARTS`."""

    source: str
    jobs: JobQuery | None = None
    part: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source said, and when by the monotonic clock; all ``None``: it cannot tell."""

    clock: float
    jobs: JobList | None = None
    task_types: tuple[TaskTypeReading, ...] | None = None
    schedules: tuple[ScheduleReading, ...] | None = None
    findings: tuple[Finding, ...] | None = None
    events: EventsReading | None = None


class Chosen(NamedTuple):
    """What the next poll fetches, and which looks that answers."""

    interest: Interest
    looks: frozenset[Look]


def looks_of(source: Source, interest: Interest, usual: Interest) -> list[Look]:
    """What an interest asks a source for beyond the usual, of what it can tell."""
    able = source.info.capabilities
    looks = [
        Look(source.key, part=part)
        for part, fact in PARTS.items()
        if getattr(interest, part) and not getattr(usual, part) and (fact is None or fact in able)
    ]
    if interest.jobs is not None and Capability.JOBS in able:
        looks.append(Look(source.key, jobs=interest.jobs))
    return looks


def interest_for(usual: Interest, looks: Iterable[Look], held: Iterable[Look]) -> Chosen:
    """All parts asked for, those held as well, and the first of the jobs: a poll has one query."""
    asked = list(looks)
    everything = [*asked, *held]
    parts = {look.part for look in everything if look.part}
    jobs = next((look.jobs for look in everything if look.jobs is not None), None)
    interest = replace(usual, jobs=jobs, **dict.fromkeys(parts, True))
    chosen = frozenset(look for look in asked if look.part or look.jobs == jobs)
    return Chosen(interest, chosen)


def answer_in(reading: Reading, look: Look, clock: float) -> Answer | None:
    """What a reading says to a look; ``None`` if it says nothing."""
    if look.jobs is not None:
        jobs = reading.jobs
        return Answer(clock, jobs=jobs) if jobs is not None and jobs.query == look.jobs else None
    match look.part:
        case "task_types" if reading.task_types is not None:
            return Answer(clock, task_types=reading.task_types)
        case "schedules" if reading.schedules is not None:
            return Answer(clock, schedules=reading.schedules)
        case "events" if reading.events is not None:
            return Answer(clock, events=reading.events)
        case "checkup":
            return Answer(clock, findings=reading.findings)
        case _:
            return None


def with_answers(frame: Frame, looks: Iterable[Look], answers: Mapping[Look, Answer]) -> Frame:
    """The frame as somebody sees it who looked at this, and at nothing else."""
    by_source: dict[str, list[Answer]] = {}
    for look in looks:
        if look in answers:
            by_source.setdefault(look.source, []).append(answers[look])
    sources = tuple(
        replace(source, reading=_with(source.reading, by_source.get(source.key, ())))
        if source.reading is not None
        else source
        for source in frame.snapshot.sources
    )
    return replace(frame, snapshot=replace(frame.snapshot, sources=sources))


def _with(reading: Reading, answers: Iterable[Answer]) -> Reading:
    jobs: JobList | None = None
    types: tuple[TaskTypeReading, ...] | None = None
    schedules: tuple[ScheduleReading, ...] | None = None
    findings: tuple[Finding, ...] = ()
    events = reading.events  # they stay in every reading for as long as somebody asks
    for answer in answers:
        jobs = answer.jobs if answer.jobs is not None else jobs
        types = answer.task_types if answer.task_types is not None else types
        schedules = answer.schedules if answer.schedules is not None else schedules
        findings = answer.findings if answer.findings is not None else findings
        events = events if answer.events is None else answer.events
    kept = replace(reading, jobs=jobs, task_types=types, schedules=schedules, findings=findings)
    return replace(kept, events=events)
