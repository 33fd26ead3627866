"""Which file a URL names."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgworker import BgWorker
from bgworker.engines import open_engine, sqlite_path
from bgworker.engines.memory import MemoryEngine
from bgworker.engines.sqlite import SqliteEngine
from bgworker.errors import BadUrl
from bgworker.model import JobSpec
from bgworker.report import inspector


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///jobs.db", "jobs.db"),
        ("sqlite:////var/lib/jobs.db", "/var/lib/jobs.db"),
        ("sqlite:///a/b/../jobs.db", "a/b/../jobs.db"),
        ("sqlite:///a%20b%23c%3Fd.db", "a b#c?d.db"),
        ("sqlite:///100%25.db", "100%.db"),
        ("sqlite:///50%zz.db", "50%zz.db"),
        ("sqlite:///%C3%BC.db", "ü.db"),
        ("sqlite:///ü.db", "ü.db"),
        ("sqlite:///%FF.db", "\udcff.db"),
        ("sqlite:///a#b.db", "a#b.db"),
        ("sqlite:///a+b.db", "a+b.db"),
        ("sqlite:///jobs.db?durability=process", "jobs.db"),
        ("sqlite:///jobs.db?allow_network_fs=1", "jobs.db"),
        ("sqlite:////%2Ftmp/x.db", "//tmp/x.db"),
        ("sqlite:///-rf.db", "-rf.db"),
    ],
)
def test_the_path_of_a_url(url: str, path: str) -> None:
    assert sqlite_path(url) == path


REFUSED = [
    "",
    "jobs.db",
    "/jobs.db",
    "sqlite",
    "sqlite:",
    "sqlite:jobs.db",
    "sqlite:/jobs.db",
    "sqlite://",
    "sqlite://jobs.db",
    "sqlite://host/jobs.db",
    "sqlite:///",
    "sqlite:////",
    "sqlite:///folder/",
    "sqlite:///?durability=full",
    "sqlite:///:memory:",
    "sqlite:///%3Amemory%3A",
    "sqlite:///a%00b.db",
    "sqlite:///a\0b.db",
    "sqlite:///\ud800.db",
    "sqlite:///jobs.db?durability=",
    "sqlite:///jobs.db?durability=never",
    "sqlite:///jobs.db?durability",
    "sqlite:///jobs.db?timeout=3",
    "sqlite:///jobs.db?durability=full&x=1",
    "sqlite:///jobs.db?allow_network_fs=yes",
    "sqlite3:///jobs.db",
    "redis://localhost",
    "memory://host",
    "file:///jobs.db",
    "postgresql://u:secret@host/db",
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_names_no_queue_is_refused(url: str) -> None:
    """With what to write instead; a password is not repeated."""
    with pytest.raises(BadUrl) as caught:
        open_engine(url).close()

    assert isinstance(caught.value, ValueError)
    assert str(caught.value).isprintable()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url", REFUSED)
def test_what_cannot_be_worked_on_cannot_be_looked_into(url: str) -> None:
    with pytest.raises(BadUrl):
        inspector(url).close()


def test_durability_is_chosen() -> None:
    assert isinstance(open_engine("memory://"), MemoryEngine)
    for url in ("sqlite:///x.db", "sqlite:///x.db?durability=full"):
        assert store_of(url) is True
    assert store_of("sqlite:///x.db?durability=process") is False


def test_a_network_file_system_is_allowed_by_the_url() -> None:
    """So that whoever is told the URL, such as a worker, need not be told anything else."""
    for url in ("sqlite:///x.db", "sqlite:///x.db?durability=full"):
        assert BgWorker(url).url == url
        engine = open_engine(BgWorker(url, allow_network_fs=True).url)
        assert isinstance(engine, SqliteEngine)
        assert engine._store._allow_network_fs
        engine.close()


def store_of(url: str) -> object:
    engine = open_engine(url)
    assert isinstance(engine, SqliteEngine)
    engine.close()
    return engine._store._durable


names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]),
    min_size=1,
    max_size=30,
).filter(lambda name: name not in {".", "..", ":memory:"} and len(os.fsencode(name)) < 200)


@given(names)
def test_every_file_has_a_url(name: str) -> None:
    assert sqlite_path(f"sqlite:////tmp/{quote(name)}") == f"/tmp/{name}"


@pytest.mark.parametrize("name", ["a b", "100%25", "what?#", "ü&;'\"", "\udcff\udc80", "-x", "%41"])
def test_a_file_of_any_name_can_be_used_and_looked_into(tmp_path: Path, name: str) -> None:
    """By producers, and by those who only look."""
    url = f"sqlite:///{tmp_path}/{quote(os.fsencode(name))}"
    engine = open_engine(url)
    (job,) = engine.enqueue([JobSpec(task="t")])
    engine.close()
    found = inspector(url)

    assert found.job(job).task == "t"
    found.close()
    assert name in os.listdir(tmp_path)


def test_one_file_is_one_queue_by_whatever_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sets of files beside one database would be two writer locks for it."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "other.db").symlink_to("jobs.db")
    monkeypatch.chdir(tmp_path / "real")
    paths = ["jobs.db", f"{tmp_path}/link/jobs.db", f"{tmp_path}/real/../link/./other.db"]
    found = set()
    for path in paths:
        engine = open_engine(f"sqlite:///{path}")
        assert isinstance(engine, SqliteEngine)
        found.add(engine.files.directory)
        engine.close()

    assert found == {f"{tmp_path}/real/jobs.db.d"}
