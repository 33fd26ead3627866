"""The audit log: who may read it, what may stand in its place, and what it says."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from bgtop.actions import CancelJob, Outcome, Performed, PurgeQueue
from bgtop.audit import AuditError, AuditLog, default_path

DONE = Performed(source="h:6379/0\0rq", action=PurgeQueue(queue="mail"), outcome=Outcome(3, "kept"))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_line_says_who_did_what_where_and_what_came_of_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit.log"
    log = AuditLog(str(path), by="screen")

    log.write(DONE)
    log.write(Performed(source="a", action=CancelJob(id="1" * 9999), fault="no"), "celery")

    done, refused = map(json.loads, path.read_text().splitlines())
    assert list(done) == [
        *("time", "user", "host", "by", "source", "system", "action", "outcome"),
        *("changed", "words"),
    ]
    assert done["source"] == "h:6379/0"
    assert (done["system"], done["by"], done["outcome"]) == ("rq", "screen", "done")
    assert done["action"] == {"verb": "purge", "queue": "mail"}
    assert (done["changed"], done["words"]) == (3, "kept")
    assert (refused["outcome"], refused["system"], refused["words"]) == ("refused", "celery", "no")
    assert len(refused["action"]["id"]) == 500
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)
    log.close()


def test_it_grows_and_others_lose_their_right_to_read_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    path.write_text("before\n")
    path.chmod(0o644)
    logs = [AuditLog(str(path), by="screen") for _ in range(2)]

    for log in (*logs, *logs):
        log.write(DONE)

    assert path.read_text().startswith("before\n{")
    assert len(path.read_text().splitlines()) == 5
    assert mode(path) == 0o600
    for log in logs:
        log.close()


def test_what_is_no_file_of_its_own_is_refused(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "victim")
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()

    for name in ("link", "fifo", "folder", "victim/below"):
        with pytest.raises(AuditError, match="nothing is done without it"):
            AuditLog(str(tmp_path / name), by="screen")


def test_a_full_disk_is_a_fault() -> None:
    with pytest.raises(AuditError):
        AuditLog("/dev/full", by="screen")


def test_the_usual_place() -> None:
    assert default_path({"XDG_STATE_HOME": "/s", "HOME": "/h"}) == "/s/bgtop/audit.log"
    assert default_path({"HOME": "/h"}) == "/h/.local/state/bgtop/audit.log"
