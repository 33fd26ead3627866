"""A source that does what a JSON file says: the plug-in of the end-to-end tests.

``scripted:///path/script.json`` is read anew at each poll, so a test changes what the screen has
to show by writing the file. It calls itself what ``?system=`` says, where that matters. It is
installed as any third party's plug-in would be: by a folder of metadata on the path
(:func:`install`).
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bgtop.actions import Action, Outcome, Verb
from bgtop.contracts import BackendPlugin, Interest, NoSuchTarget, Settings, Unreachable
from bgtop.model import (
    Age,
    AgeKind,
    BackendInfo,
    Capability,
    JobList,
    JobQuery,
    JobReading,
    JobState,
    QueueReading,
    Reading,
    ScheduleReading,
    TaskTypeReading,
    WorkerReading,
    WorkerState,
)
from bgtop.task_events import (
    BUCKETS,
    EventKind,
    EventsReading,
    HistogramReading,
    TaskEventsReading,
)
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

BGTOP = os.path.join(os.path.dirname(sys.executable), "bgtop")
"""The command as it is installed beside the Python that runs the tests."""


class Script:
    """What the scripted source shows, until it is written anew."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"scripted://{path}"

    def write(self, **script: Any) -> None:
        import json

        # Renamed into place: a poll sees the old script or the new one.
        draft = self.path.with_suffix(".new")
        draft.write_text(json.dumps(script))
        draft.rename(self.path)

    def queues(self, *names: str, **more: Any) -> None:
        self.write(queues=[{"name": name, "depth": 1} for name in names], **more)


class ScriptedBackend:
    """Reads its script at each poll; ``fail``, ``crash`` and ``nonsense`` do what they say."""

    def __init__(self, path: str, system: str = "scripted") -> None:
        self._path = path
        self.info = BackendInfo(
            system=system,
            broker="file",
            url=f"scripted://:***@localhost{path}",
            capabilities=frozenset(
                {
                    *(Capability.DEPTH, Capability.WORKERS, Capability.JOBS),
                    *(Capability.TASK_TYPES, Capability.SCHEDULES, Capability.EVENTS),
                }
            ),
            verbs=frozenset(Verb),
        )

    def _script(self) -> dict[str, Any]:
        import json

        with open(self._path, encoding="utf-8") as file:
            script: dict[str, Any] = json.load(file)
        return script

    def perform(self, action: Action, /) -> Outcome:
        """Write down what was asked, beside the script."""
        if "refuse" in self._script():
            raise NoSuchTarget(self._script()["refuse"])
        with open(f"{self._path}.done", "a", encoding="utf-8") as file:
            file.write(f"{action}\n")
        return Outcome(1)

    def poll(self, interest: Interest, /) -> Reading:
        script = self._script()
        if "fail" in script:
            raise Unreachable(script["fail"])
        if "crash" in script:
            raise ZeroDivisionError(script["crash"])
        if "nonsense" in script:
            return Reading(taken_at=_now(), queues=(script["nonsense"],))
        return answered(reading_of(script, _now()), script, interest)

    def close(self) -> None:
        pass


def answered(reading: Reading, script: dict[str, Any], interest: Interest) -> Reading:
    """The reading with what was asked for beside queues and workers."""
    return replace(
        reading,
        jobs=_jobs(script, interest.jobs, reading.taken_at) if interest.jobs else None,
        task_types=tuple(TaskTypeReading(**fields) for fields in script.get("types", ()))
        if interest.task_types
        else None,
        schedules=tuple(_schedule(fields, reading.taken_at) for fields in script.get("beat", ()))
        if interest.schedules
        else None,
        events=events_of(script["events"]) if interest.events and "events" in script else None,
    )


def events_of(fields: dict[str, Any]) -> EventsReading:
    """What happened to jobs; ``since`` in epoch seconds, a histogram as counts and seconds."""
    return EventsReading(
        since=datetime.fromtimestamp(fields.get("since", 0), timezone.utc),
        kinds=frozenset(EventKind(kind) for kind in fields.get("kinds", EventKind)),
        series=tuple(_series(each) for each in fields.get("series", ())),
        missed=fields.get("missed", 0),
        forgotten=fields.get("forgotten", 0),
    )


def _series(fields: dict[str, Any]) -> TaskEventsReading:
    fields = dict(fields)
    fields["counts"] = {EventKind(kind): n for kind, n in fields.get("counts", {}).items()}
    for name in ("runtime", "wait"):
        if name in fields:
            counts, seconds = fields[name]
            counts = (*counts, *[0] * (len(BUCKETS) + 1 - len(counts)))
            fields[name] = HistogramReading(counts=counts, seconds=seconds)
    return TaskEventsReading(**fields)


def _jobs(script: dict[str, Any], query: JobQuery, taken_at: datetime) -> JobList:
    rows = tuple(_job(fields, taken_at) for fields in script.get("jobs", ()))
    chosen = [
        job
        for job in rows
        if (query.id is None or job.id == query.id)
        and (query.queue is None or job.queue == query.queue)
        and (query.worker is None or job.worker == query.worker)
        and job.state in query.states
    ]
    chosen.sort(key=lambda job: list(JobState).index(job.state))
    return JobList(query=query, rows=tuple(chosen), more=query.limit > 100)


def _job(fields: dict[str, Any], taken_at: datetime) -> JobReading:
    fields = {**fields, "state": JobState(fields.get("state", "waiting"))}
    for name in ("enqueued", "due", "started", "ended"):
        if name in fields:
            fields[f"{name}_at"] = taken_at - timedelta(seconds=fields.pop(name))
    for name in ("parents", "children"):
        fields[name] = tuple(fields.get(name, ()))
    return JobReading(**fields)


def _schedule(fields: dict[str, Any], taken_at: datetime) -> ScheduleReading:
    fields = dict(fields)
    for name in ("next", "last"):
        if name in fields:
            fields[f"{name}_at"] = taken_at - timedelta(seconds=fields.pop(name))
    return ScheduleReading(**fields)


def reading_of(script: dict[str, Any], taken_at: datetime) -> Reading:
    """The reading a script describes; times in it are seconds ago."""
    return Reading(
        taken_at=taken_at,
        queues=tuple(_queue(fields, taken_at) for fields in script.get("queues", ())),
        workers=tuple(_worker(fields, taken_at) for fields in script.get("workers", ())),
        totals=script.get("totals", {}),
        broker_version=script.get("version"),
        round_trips=2,
        commands=45,
        warnings=tuple(script.get("warnings", ())),
        complete=script.get("complete", True),
    )


def _queue(fields: dict[str, Any], taken_at: datetime) -> QueueReading:
    fields = dict(fields)
    if "oldest" in fields:
        kind = AgeKind.AT_LEAST if fields.pop("at_least", False) else AgeKind.EXACT
        fields["oldest"] = Age(fields["oldest"], kind)
    if "last_completed" in fields:
        fields["last_completed_at"] = taken_at - timedelta(seconds=fields.pop("last_completed"))
    return QueueReading(**fields)


def _worker(fields: dict[str, Any], taken_at: datetime) -> WorkerReading:
    fields = dict(fields)
    if "queues" in fields:
        fields["queues"] = tuple(fields["queues"])
    if "beat" in fields:
        fields["last_heartbeat_at"] = taken_at - timedelta(seconds=fields.pop("beat"))
    if "state" in fields:
        fields["state"] = WorkerState(fields["state"])
    return WorkerReading(**fields)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _open(url: str, settings: Settings) -> ScriptedBackend:
    path, _, system = url.removeprefix("scripted://").partition("?system=")
    return ScriptedBackend(path, system or "scripted")


class ScriptedInspector:
    """Answers what ``answers`` says of each worker, and writes down that it was asked."""

    silent = 0
    prefixes: Mapping[str, str] = MappingProxyType({})

    def __init__(self, url: str, settings: Settings) -> None:
        self._path = url.removeprefix("scripted://").partition("?")[0]

    def workers(
        self, what: Sequence[str], names: Sequence[str] | None, seconds: float, /
    ) -> Mapping[str, Mapping[str, object]]:
        import json

        with open(f"{self._path}.asked", "a", encoding="utf-8") as file:
            file.write(f"{names}\n")
        with open(self._path, encoding="utf-8") as file:
            answers = json.load(file).get("answers", {})
        return {
            worker: {key: value for key, value in said.items() if key in what}
            for worker, said in answers.items()
            if names is None or worker in names
        }

    def close(self) -> None:
        pass


plugin = BackendPlugin(
    name="scripted",
    summary="a source made for tests",
    schemes=("scripted",),
    open=_open,
    inspector=ScriptedInspector,
)


def install(folder: Path) -> dict[str, str]:
    """Install the plug-in into an empty folder; the environment in which it is found."""
    metadata = folder / "bgtop_scripted-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: bgtop-scripted\nVersion: 1.0\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[bgtop.backends]\nscripted = scripted_source:plugin\n"
    )
    paths = [
        str(folder),
        os.path.dirname(os.path.abspath(__file__)),
        os.environ.get("PYTHONPATH", ""),
    ]
    return {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
