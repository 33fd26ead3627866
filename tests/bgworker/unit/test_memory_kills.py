"""Where the kernel counts what its memory killer does."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgworker.worker.memory_kills import MemoryKills

ONE = ("8:pids:/\n4:cpu,memory:/a/b:c\n0::/\n", "sys/fs/cgroup/memory/a/b:c/memory.oom_control")
TWO = ("0::/system.slice/w.service\n", "sys/fs/cgroup/system.slice/w.service/memory.events")
NEITHER = ("0::/\n", "proc/vmstat")


@pytest.mark.parametrize(("groups", "counter"), [ONE, TWO, NEITHER])
def test_a_kill_is_noticed_once(tmp_path: Path, groups: str, counter: str) -> None:
    for name, text in (("proc/self/cgroup", groups), ("proc/vmstat", "oom_kill 70\n")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    path = tmp_path / counter
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("low 9\nunder_oom 0\noom_kill 3\n")
    kills = MemoryKills(str(tmp_path))

    assert not kills.ran_out()
    path.write_text("low 9\nunder_oom 0\noom_kill 5\n")
    assert kills.ran_out()
    assert not kills.ran_out()


def test_where_nothing_is_counted_nothing_is_claimed(tmp_path: Path) -> None:
    kills = MemoryKills(str(tmp_path))

    assert not kills.ran_out()


def test_this_machine_counts() -> None:
    assert MemoryKills()._path is not None
