"""A source that does what a JSON file says: the plug-in of the end-to-end tests.

``scripted:///path/script.json`` is read anew at each poll, so a test changes what the screen has
to show by writing the file. It is installed as any third party's plug-in would be: by a folder of
metadata on the path (:func:`install`).
"""

from __future__ import annotations

import os
import sys
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from bgtop.contracts import BackendPlugin, Interest, Settings, Unreachable
from bgtop.model import (
    Age,
    AgeKind,
    BackendInfo,
    Capability,
    QueueReading,
    Reading,
    WorkerReading,
    WorkerState,
)

if TYPE_CHECKING:
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

    def __init__(self, path: str) -> None:
        self._path = path
        self.info = BackendInfo(
            system="scripted",
            broker="file",
            url=f"scripted://:***@localhost{path}",
            capabilities=frozenset({Capability.DEPTH, Capability.WORKERS}),
        )

    def poll(self, interest: Interest, /) -> Reading:
        import json

        with open(self._path, encoding="utf-8") as file:
            script = json.load(file)
        if "fail" in script:
            raise Unreachable(script["fail"])
        if "crash" in script:
            raise ZeroDivisionError(script["crash"])
        if "nonsense" in script:
            return Reading(taken_at=_now(), queues=(script["nonsense"],))
        return reading_of(script, _now())

    def close(self) -> None:
        pass


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
    if "beat" in fields:
        fields["last_heartbeat_at"] = taken_at - timedelta(seconds=fields.pop("beat"))
    if "state" in fields:
        fields["state"] = WorkerState(fields["state"])
    return WorkerReading(**fields)


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _open(url: str, settings: Settings) -> ScriptedBackend:
    return ScriptedBackend(url.removeprefix("scripted://"))


plugin = BackendPlugin(
    name="scripted", summary="a source made for tests", schemes=("scripted",), open=_open
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
