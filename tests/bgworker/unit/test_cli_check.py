"""``bgworker check``: the app is really imported, in a process of its own; nothing is stored."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker.capabilities import ASKED_BY_CALLS, TARGETS, needs
from bgworker.contracts import Feature
from bgworker.engines import open_engine
from bgworker.model import Retry, TaskPolicy
from bgworker.schedule import every

Cli = Callable[..., Any]

SHOP = """
    from bgworker import BgWorker, Retry, cron, every

    print("what an application prints is no part of the answer")
    bg = BgWorker("sqlite:///shop.db")
    bg.queue("mail", concurrency=3)

    @bg.task(name="send", queue="mail", rate_limit="100/m", concurrency=2, retry=Retry(max=3))
    def send(to): ...

    @bg.task(name="nightly", schedule=cron("0 3 * * *", tz="Europe/Rome"), priority=2, timeout=5)
    def nightly(): ...

    @bg.task(name="plain", on_failure=lambda job, error: None)
    def plain(): ...
"""


@pytest.fixture
def app(tmp_path: Path) -> Callable[[str], None]:
    """Write ``shop.py``."""

    def write(source: str) -> None:
        lines = source.splitlines()
        text = "\n".join(line.removeprefix("    ") for line in lines)
        (tmp_path / "shop.py").write_text(text)

    return write


def findings(cli: Cli, *options: str) -> list[dict[str, Any]]:
    done = cli("check", "--app", "shop", "--json", *options)
    found: list[dict[str, Any]] = done.json()["findings"]
    assert done.code == int(bool(found))
    return found


def test_an_app_that_is_well(app: Any, cli: Cli, tmp_path: Path) -> None:
    app(SHOP)
    done = cli("check", "--app", "shop:bg")

    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split() == (
        [
            "TASK",
            "QUEUE",
            "SCHEDULE",
            "NEXT",
            "(UTC)",
            "PRIORITY",
            "RATE",
            "AT",
            "ONCE",
            "TIMEOUT",
            "RETRIES",
        ]
    )
    assert lines[1].split() == ["send", "mail", "–", "–", "5", "100/m", "2", "–", "3"]
    assert "0 3 * * * Europe/Rome" in lines[2]
    url = f"sqlite:///{tmp_path}/shop.db"
    assert lines[-1] == f"ok: 4 tasks in shop:bg, and {url} can be used"
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["shop.py"]


def test_the_same_for_programs(app: Any, cli: Cli, tmp_path: Path) -> None:
    app(SHOP)
    found = cli("check", "--app", "shop", "--json").json()

    tasks = {task["name"]: task for task in found["tasks"]}
    assert found["findings"] == found["notes"] == []
    assert (found["app"], found["url"]) == ("shop", f"sqlite:///{tmp_path}/shop.db")
    assert tasks["send"]["rate_limit"] == "100/m"
    assert tasks["nightly"]["next_fire_at"].endswith(":00:00.000Z")
    assert tasks["plain"]["next_fire_at"] is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise LookupError('no settings')", "LookupError: no settings"),
        ("def (", "SyntaxError: invalid syntax"),
        ("import os; os._exit(3)", "the process that imports the application died"),
        ("x = 1", "one BgWorker is needed, found none"),
        ("from bgworker import BgWorker\na = BgWorker()\nb = BgWorker()", "found a, b"),
        (
            (
                "from bgworker import BgWorker, cron\nbg = BgWorker()\n"
                "@bg.task(schedule=cron('61 * * * *'))\ndef f(): ..."
            ),
            "61",
        ),
        (
            (
                "from bgworker import BgWorker\nbg = BgWorker()\n"
                "@bg.task(name='same')\ndef f(): ...\n@bg.task(name='same')\ndef g(): ..."
            ),
            "two tasks are named 'same'",
        ),
    ],
)
def test_an_app_that_cannot_be_imported_is_a_finding(
    cli: Cli, tmp_path: Path, source: str, words: str
) -> None:
    (tmp_path / "shop.py").write_text(source)
    text = cli("check", "--app", "shop")
    (found,) = findings(cli)

    assert text.code == 1
    assert words in text.out
    assert text.out.count("\n") == 1
    assert text.out == f"{found['what']}\n"


@pytest.mark.parametrize("spec", ["nowhere", "shop:nothing", ":", ""])
def test_an_app_that_is_not_there_is_a_finding(app: Any, cli: Cli, spec: str) -> None:
    app(SHOP)
    done = cli("check", "--app", spec)

    assert done.code == 1
    assert done.out.startswith("--app ")
    assert done.out.count("\n") == 1


def test_an_app_without_tasks_is_a_finding(app: Any, cli: Cli) -> None:
    app("    from bgworker import BgWorker\n    bg = BgWorker()")

    assert [found["what"] for found in findings(cli)] == ["shop declares no task"]


def test_a_schedule_that_never_comes_is_a_finding(app: Any, cli: Cli) -> None:
    app(SHOP.replace("0 3 * * *", "0 3 30 2 *"))
    done = cli("check", "--app", "shop", "--json")

    assert done.code == 1
    assert "30 2" in done.out


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///missing/jobs.db", "there is no folder "),
        ("sqlite:///shop.py", "file is not a database"),
        ("sqlite:///folder", "folder"),
        ("sqlite:///x.db?speed=9", "unknown option speed"),
        ("sqlite://", "names no file"),
        ("redis://h", "names no queue"),
    ],
)
def test_a_queue_that_cannot_be_used_is_a_finding(
    app: Any, cli: Cli, tmp_path: Path, url: str, words: str
) -> None:
    app(SHOP)
    (tmp_path / "folder").mkdir()
    before = sorted(path.name for path in tmp_path.iterdir())
    (found,) = findings(cli, "--url", url)

    assert words in found["what"]
    assert set(os.listdir(tmp_path)) - {"__pycache__"} == set(before)


@pytest.mark.parametrize("url", ["sqlite:///jobs.db", "memory://", "sqlite:///theirs.db"])
def test_a_queue_that_can_be_used_is_none(app: Any, cli: Cli, url: str, tmp_path: Path) -> None:
    app(SHOP)
    cli("enqueue", "t", "--url", "sqlite:///jobs.db")
    other = sqlite3.connect(tmp_path / "theirs.db")
    other.execute("CREATE TABLE theirs (n)")
    other.close()

    assert findings(cli, "--url", url) == []


def test_a_queue_of_a_newer_version_is_a_finding(app: Any, cli: Cli, tmp_path: Path) -> None:
    app(SHOP)
    cli("enqueue", "t", "--url", "sqlite:///jobs.db")
    db = sqlite3.connect(tmp_path / "jobs.db")
    db.execute("INSERT INTO bgworker_migration VALUES (99, 0)")
    db.commit()
    db.close()

    (found,) = findings(cli, "--url", "sqlite:///jobs.db")
    assert "schema version 99" in found["what"]


# Other engines


@pytest.mark.parametrize("target", ["celery+redis://h:6379/0", "celery+amqp://h//"])
def test_what_the_target_lacks_is_told_by_task_feature_and_engine(
    app: Any, cli: Cli, target: str
) -> None:
    app(SHOP)
    engine = target.partition(":")[0]
    found = findings(cli, "--target", target)
    text = cli("check", "--app", "shop", "--target", target)

    assert {(one["task"], one["feature"], one["engine"]) for one in found} == {
        ("nightly", "schedule", engine),
        ("nightly", "priority", engine),
        ("send", "rate_limit", engine),
        ("send", "concurrency", engine),
        (None, "queue_limit", engine),
    }
    assert len(found) == 5
    assert f"send: rate_limit='100/m' on {engine}: a rate holds for each worker" in text.out
    assert f"note: unique= on {engine}, if calls use it: " in text.out
    assert text.code == 1


@pytest.mark.parametrize("target", ["sqlite:///other.db", "memory://"])
def test_our_own_engines_lack_nothing(app: Any, cli: Cli, target: str) -> None:
    app(SHOP)

    assert findings(cli, "--target", target) == []


@pytest.mark.parametrize("target", ["", "celery", "celery+sqs://q", "redis://h", "sqlite:"])
def test_a_target_that_is_not_known_is_wrong_usage(app: Any, cli: Cli, target: str) -> None:
    app(SHOP)
    done = cli("check", "--app", "shop", "--target", target)

    assert done.code == 2
    assert "known: sqlite://, memory://, celery+redis://, celery+amqp://" in done.err


@pytest.mark.parametrize("url", ["sqlite:///x.db", "memory://"])
def test_the_table_says_of_our_engines_what_they_say_of_themselves(url: str) -> None:
    engine = open_engine(url)

    assert set(TARGETS[url.partition(":")[0]].lacks) == set(Feature) - engine.features
    engine.close()


def test_each_feature_is_asked_for_by_a_declaration_or_a_call() -> None:
    everything = TaskPolicy(
        name="t",
        queue="q",
        priority=1,
        retry=Retry(max=1),
        hard_timeout=1.0,
        rate_limit=1.0,
        concurrency=1,
        on_success="t.on_success",
        schedule=every(hours=1),
    )
    by_others = {Feature.RESULT, Feature.QUEUE_LIMIT}  # always; by bg.queue()

    assert set(needs(everything)) | set(ASKED_BY_CALLS) | by_others == set(Feature)
    assert needs(TaskPolicy(name="t", queue="q", priority=5)) == {}
