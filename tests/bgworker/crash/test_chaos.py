"""Producers, supervisors, zygotes and children killed at random, over thousands of jobs."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import ROLES, Stage, perform, table

from bgworker import BgWorker

JOBS = 10_000
KILLS = 30
SEED = 20261121


MEMORY = Path("/dev/shm")
ROOM = 1 << 30
"""Bytes; ten times what the queue and all that is told of its jobs take."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory if there is room: a kill takes nothing from a disk, which each commit waits for."""
    if not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


@pytest.mark.timeout(600)
def test_thirty_kills_of_all_kinds_over_ten_thousand_jobs(folder: Path) -> None:
    """What was acknowledged has ended once, nothing ran twice at a time, the dead are noticed."""
    verdict = perform(folder, jobs=JOBS, kills=KILLS, seed=SEED)

    print(table(verdict, 0))
    assert verdict.faults() == []
    assert verdict.acknowledged == JOBS
    assert len(verdict.kills) == KILLS
    roles = Counter(kill.role for kill in verdict.kills)
    assert min(roles[role] for role in ROLES) >= 5, roles
    assert verdict.rescues, "no job was rescued: the test has lost its teeth"
    assert max(verdict.rescues) < 5


def test_a_result_survives_the_supervisor(tmp_path: Path) -> None:
    """A job whose worker is killed at once runs again under the next one, started alone."""
    bg = BgWorker(f"sqlite:///{tmp_path}/jobs.db")
    job = bg.task(name="plain")(lambda: None).delay()
    stage = Stage(tmp_path, jobs=1, workers=1, seed=SEED)
    try:
        stage.hire()
        stage.strike("supervisor")
        assert job.result(timeout=30) is None
        stage.dismiss()
    finally:
        stage.close()
        bg.close()
