"""Changing commands on a real queue: they ask, they do it, and they write down what they did."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_source import BGTOP
from terminal import Terminal

from bgworker import BgWorker, Handle
from bgworker.inline import run_until_idle

Call = Callable[..., subprocess.CompletedProcess[str]]


class Jobs:
    """A queue file with a task that fails, and what became of its jobs."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.app = BgWorker(self.url)

        @self.app.task(name="mail.send", queue="mail")
        def send() -> None:
            raise ValueError("no such user")

        self._send = send
        self._handles: dict[str, Handle[None]] = {}

    def put(self) -> str:
        handle = self._send.delay()
        self._handles[handle.id] = handle
        return handle.id

    def failed(self) -> str:
        id_ = self.put()
        run_until_idle(self.app)
        return id_

    def state(self, id_: str) -> str:
        return self._handles[id_].status.value


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path / "jobs.db")
    yield jobs
    jobs.app.close()


def audited(environment: dict[str, str]) -> list[dict[str, Any]]:
    path = Path(environment["HOME"], ".local/state/bgtop/audit.log")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_each_command_has_its_effect(call: Call, jobs: Jobs, environment: dict[str, str]) -> None:
    def done(*arguments: str) -> str:
        made = call(*arguments, jobs.url, "--yes")
        assert (made.returncode, made.stderr) == (0, "")
        return made.stdout.strip()

    failed, waiting = jobs.failed(), jobs.put()
    assert done("retry", failed) == f"retried job {failed}"
    assert jobs.state(failed) == "queued"
    assert done("cancel", waiting) == f"cancelled job {waiting}"
    assert jobs.state(waiting) == "cancelled"
    assert done("pause", "mail") == "paused queue mail"
    assert done("pause", "mail").startswith("nothing changed: queue mail")
    assert done("resume", "mail") == "resumed queue mail"
    assert done("purge", "mail").startswith("purged 1 job: queue mail")
    again = jobs.failed()
    assert done("requeue", "--failed", "--queue", "mail") == (
        "requeued 1 job: failed jobs of queue mail"
    )
    assert jobs.state(again) == "queued"

    lines = audited(environment)
    assert [line["action"]["verb"] for line in lines] == [
        *("retry", "cancel", "pause", "pause", "resume", "purge", "requeue")
    ]
    assert {line["outcome"] for line in lines} == {"done"}
    assert {(line["source"], line["system"]) for line in lines} == {("jobs.db", "bgworker")}


def test_what_is_refused_is_a_line_and_status_one_and_in_the_log(
    call: Call, jobs: Jobs, environment: dict[str, str]
) -> None:
    waiting = jobs.put()

    for arguments, words in (
        (("retry", waiting), f"{waiting} (mail.send, waiting): job {waiting} is queued already"),
        (("delete", waiting), "a job that waits can be cancelled"),
        (("retry", "77"), "there is no job '77'"),
        (("purge", "male"), "there is no queue 'male'"),
    ):
        done = call(*arguments, jobs.url, "--yes")
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert words in done.stderr

    assert [line["outcome"] for line in audited(environment)] == ["refused"] * 4
    assert jobs.state(waiting) == "queued"


def test_a_system_that_cannot_do_it_says_what_can_be_done_instead(
    call: Call, redis_server: Any
) -> None:
    done = call("pause", "mail", f"arq+{redis_server.url}", "--yes")

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "bgtop: queue mail: arq cannot pause a queue: stop its workers\n"


def test_nothing_is_done_without_a_word(
    call: Call, jobs: Jobs, environment: dict[str, str]
) -> None:
    """Neither where nobody can be asked, nor where nothing may be changed."""
    waiting = jobs.put()
    done = subprocess.run(
        [BGTOP, "cancel", waiting, jobs.url],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("bgtop: nobody can be asked here: say --yes")

    Path(environment["HOME"], ".bgtoprc").write_text("[calm]\nread_only = yes\n")
    for more, variables in (
        (("--read-only",), {}),
        ((), {"BGTOP_READ_ONLY": "1"}),
        (("--profile", "calm"), {}),
    ):
        made = call("cancel", waiting, jobs.url, "--yes", *more, **variables)
        assert (made.returncode, made.stdout) == (2, "")
        assert made.stderr.startswith("bgtop: read-only: nothing is changed")

    assert jobs.state(waiting) == "queued"
    assert [line["words"] for line in audited(environment)] == ["read-only"] * 3


def test_two_sources_that_have_it(call: Call, jobs: Jobs, tmp_path: Path) -> None:
    other = Jobs(tmp_path / "other.db")
    mine = jobs.put()
    assert other.put() == mine

    both = call("cancel", mine, jobs.url, other.url, "--yes")
    one = call("cancel", mine, "--source", other.url, "--yes")

    assert (both.returncode, both.stdout) == (2, "")
    assert "is in several sources: jobs.db (bgworker), other.db (bgworker)" in both.stderr
    assert (one.returncode, jobs.state(mine), other.state(mine)) == (0, "queued", "cancelled")
    other.app.close()


def test_without_the_audit_log_nothing_is_done(call: Call, jobs: Jobs, tmp_path: Path) -> None:
    waiting = jobs.put()
    (tmp_path / "file").write_text("")

    refused = call("cancel", waiting, jobs.url, "--yes", BGTOP_AUDIT_LOG=f"{tmp_path}/file/log")
    assert (refused.returncode, jobs.state(waiting)) == (1, "queued")
    assert "nothing is done without it" in refused.stderr
    assert call("cancel", waiting, jobs.url, "--yes", BGTOP_AUDIT_LOG="off").returncode == 0
    assert jobs.state(waiting) == "cancelled"


@pytest.mark.parametrize(("answer", "status", "state"), [("y", 0, "cancelled"), ("", 1, "queued")])
def test_it_asks_naming_object_count_and_source(
    answer: str, status: int, state: str, open_terminal: Callable[..., Terminal], jobs: Jobs
) -> None:
    ids = [jobs.put(), jobs.put()]

    terminal = open_terminal("cancel", *ids, jobs.url, columns=120)
    named = ", ".join(f"{id_} (mail.send, waiting)" for id_ in ids)
    terminal.wait_for(f"cancel 2 jobs: {named} on jobs.db (bgworker)? [y/N]")
    terminal.press(f"{answer}\r")

    assert terminal.end() == status
    assert [jobs.state(id_) for id_ in ids] == [state] * 2


@pytest.mark.parametrize(
    "arguments",
    [["retry"], ["retry", "redis://h"], ["requeue"], ["purge"], ["cancel", "1", "--signal", "-"]],
)
def test_wrong_usage(arguments: list[str], call: Call) -> None:
    done = call(*arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
