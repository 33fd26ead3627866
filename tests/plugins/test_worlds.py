"""A cluster in another Python is used as one of this process would be."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from worlds import open_cluster

MODULE = """
import os
from contextlib import contextmanager


class Job:
    def __init__(self, id):
        self.id = id


class Cluster:
    def __init__(self, folder, **options):
        print("to nobody")
        self.folder = folder
        self.options = options
        self.pid = os.getpid()
        self.held = []

    def put(self, count, after=None):
        return [Job((after.id if after else 0) + number) for number in range(count)]

    def tasks(self):
        return {"add": lambda a, b: a + b, "fail": lambda: 1 / 0}

    def same(self, value):
        return value

    @contextmanager
    def holding(self, name):
        self.held.append(name)
        yield
        self.held.remove(name)

    def close(self):
        (self.folder / "closed").touch()
"""


@pytest.fixture(params=[False, True], ids=["here", "there"])
def cluster(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    module = f"{'there' if request.param else 'here'}_cluster"
    (tmp_path / f"{module}.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if request.param:
        monkeypatch.setenv("BGTOP_TEST_THERE_PYTHON", sys.executable)
    cluster = open_cluster(module.partition("_")[0], "Cluster", tmp_path, key="value")
    yield cluster
    cluster.close()
    assert (tmp_path / "closed").exists()


def test_values_come_as_they_were_sent(cluster: Any, tmp_path: Path) -> None:
    values = [
        None,
        True,
        1.5,
        "ü\x00\udcff",
        b"\xff",
        datetime.now(timezone.utc),
        {"a": [(1, {2})]},
    ]

    assert [cluster.same(value) for value in values] == values
    assert (cluster.folder, cluster.options) == (tmp_path, {"key": "value"})


def test_objects_stay_where_they_are_and_can_be_given_back(cluster: Any) -> None:
    first, second = cluster.put(2)
    (after,) = cluster.put(1, after=second)

    assert (first.id, second.id, after.id) == (0, 1, 1)
    assert cluster.tasks()["add"](2, b=3) == 5


def test_what_is_set_is_set_there(cluster: Any) -> None:
    cluster.results = "redis://"
    (job,) = cluster.put(1)
    job.id = 7
    (after,) = cluster.put(1, after=job)

    assert (cluster.results, after.id) == ("redis://", 7)


def test_a_context_is_left_when_the_test_leaves_it(cluster: Any) -> None:
    with cluster.holding("mail"):
        assert cluster.held == ["mail"]
    assert cluster.held == []


def test_a_fault_is_told_with_its_place(cluster: Any) -> None:
    with pytest.raises((RuntimeError, ZeroDivisionError), match="division by zero"):
        cluster.tasks()["fail"]()
    assert cluster.same(1) == 1


def test_what_cannot_be_sent_is_an_error_here(cluster: Any) -> None:
    if cluster.pid == os.getpid():
        assert cluster.same(print) is print
    else:
        with pytest.raises(TypeError, match="cannot be sent to another Python"):
            cluster.same(print)


def test_only_the_other_python_is_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with its cluster, also with one that cannot be made."""
    before = _children()
    (tmp_path / "else_cluster.py").write_text(MODULE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("BGTOP_TEST_ELSE_PYTHON", sys.executable)
    with pytest.raises(RuntimeError, match="folder"):
        open_cluster("else", "Cluster")
    assert _children() == before

    cluster = open_cluster("else", "Cluster", tmp_path)
    assert _children() - before == {cluster.pid}
    cluster.close()
    assert _children() == before


def _children() -> set[int]:
    task = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    return {int(child) for child in task.read_text().split()}
