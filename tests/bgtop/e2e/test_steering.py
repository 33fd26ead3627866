"""Workers steered from the shell and the screen: what is asked, done, refused, written down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from celery_desk import PREFORK, lives
from terminal import Terminal

from bgtop.testing import wait_until
from bgworker import BgWorker

Call = Callable[..., subprocess.CompletedProcess[str]]


def audited(environment: dict[str, str]) -> list[dict[str, Any]]:
    path = Path(environment["HOME"], ".local/state/bgtop/audit.log")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def celery(redis_server: Any, make_celery: Callable[..., Any]) -> Any:
    return make_celery(redis_server.url)


def children(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_a_worker_is_told_and_all_of_it_is_written_down(
    call: Call, celery: Any, environment: dict[str, str]
) -> None:
    """At the bare address of the broker: the system is found by the worker's name."""
    node = celery.start_worker("w1", "mail", pool=PREFORK)
    pid = celery.pid(node)
    wait_until(
        lambda: node in call("inspect", celery.url).stdout, seconds=30, every=0.2, why="it is seen"
    )

    def done(*arguments: str) -> str:
        made = call(*arguments, celery.url, "--yes")
        assert (made.returncode, made.stderr) == (0, "")
        return made.stdout.strip()

    assert done("worker", "grow", "2", node) == (
        f"grow the pool of worker {node} by 2: pool will grow"
    )
    wait_until(lambda: children(pid) == 3, seconds=20, why="it has grown")
    assert done("limit", "rate", "add", "10/m") == (
        "limit the rate of task add to 10/m at all workers: "
        "1 worker: new rate limit set successfully"
    )
    sent = done("send", "add", "--args", "[1, 2]", "--kwargs", '{"password": "hush"}')
    assert sent.startswith("send task add: its id is ")
    refused = call("worker", "restart", node, celery.url, "--yes")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"worker '{node}' says: " in refused.stderr
    assert "Pool restarts not enabled" in refused.stderr
    stranger = call("worker", "grow", "1", "nobody@test", celery.url, "--yes")
    assert stranger.returncode == 1
    assert "there is no worker 'nobody@test'" in stranger.stderr
    calm = call("worker", "shutdown", node, celery.url, "--yes", "--read-only")
    assert (calm.returncode, calm.stdout) == (2, "")
    assert lives(pid)
    done("worker", "shutdown", node)
    wait_until(lambda: not lives(pid), seconds=20, why="it has ended")

    lines = audited(environment)
    assert [(line["action"]["verb"], line["outcome"]) for line in lines] == [
        *(("grow", "done"), ("limit-rate", "done"), ("send", "done"), ("restart", "refused")),
        *(("grow", "refused"), ("shutdown", "refused"), ("shutdown", "done")),
    ]
    assert lines[0]["action"] == {"verb": "grow", "worker": node, "by": 2}
    assert "hush" not in json.dumps(lines)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["worker"], ["worker", "grow"], ["worker", "grow", "w"], ["worker", "grow", "0", "w"]),
        *(["worker", "autoscale", "3", "2", "w"], ["worker", "shutdown", "redis://h"]),
        *(["worker", "grow", "1001", "w"], ["worker", "autoscale", "0", "9999", "w"]),
        ["limit", "time", "t", "--soft", "2", "--hard", "1"],
        *(["worker", "dance", "w"], ["limit", "rate", "t"], ["limit", "time", "t", "--hard", "x"]),
        *(["limit", "rate", "t", "1/s", "--soft", "3"], ["send"], ["abort", "redis://h"]),
        *(["send", "t", "--countdown", "-1"], ["inspect", "sqlite:///x.db", "--what", "shutdown"]),
    ],
)
def test_wrong_usage(arguments: list[str], call: Call) -> None:
    done = call(*arguments)

    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)


def test_keys_grow_a_pool_and_end_a_worker(
    open_terminal: Callable[..., Terminal], celery: Any, call: Call
) -> None:
    node = celery.start_worker("w1", "mail", pool=PREFORK)
    pid = celery.pid(node)
    wait_until(lambda: node in call("inspect", celery.url).stdout, seconds=30, every=0.2)

    terminal = open_terminal(f"celery+{celery.url}", "--interval", "0.5", columns=120)
    terminal.wait_for(node)
    terminal.press("\t", "N")
    terminal.wait_for(f"Add one to the pool of worker {node}?")
    terminal.press("y")
    terminal.wait_for(f"grow {node}: 1 changed · pool will grow")
    wait_until(lambda: children(pid) == 2, seconds=20, why="it has grown")
    terminal.press("X")
    terminal.wait_for(f"Shut down worker {node}?")
    terminal.press("n")
    assert lives(pid)
    terminal.press("X", "y")
    wait_until(lambda: not lives(pid), seconds=20, why="it has ended")
    terminal.press("q")
    assert terminal.end() == 0


def test_workers_of_rq_are_told_by_their_channel(
    call: Call, redis_server: Any, make_rq: Callable[..., Any]
) -> None:
    """A job that runs is killed; an idle worker has nothing to kill, and ends."""
    rq = make_rq(redis_server.url)
    name = rq.start_worker("w1", "mail")
    pid = rq.pid(name)
    (job,) = rq.put("mail", 1, task="wait")
    wait_until(lambda: rq.status(job.id) == "started", seconds=20, why="it runs")

    killed = call("worker", "restart", name, rq.url, "--yes")
    assert (killed.returncode, killed.stderr) == (0, "")
    assert "the job fails" in killed.stdout
    wait_until(lambda: rq.status(job.id) == "failed", seconds=20, why="the job has failed")
    idle = "it runs no job"
    wait_until(
        lambda: idle in call("worker", "restart", name, rq.url, "--yes").stdout,
        seconds=20,
        why="the worker is idle",
    )
    assert lives(pid)
    refused = call("worker", "grow", "1", name, rq.url, "--yes")
    assert refused.returncode == 1
    assert "listen to suspend, wake, shutdown" in refused.stderr
    assert call("worker", "shutdown", name, rq.url, "--yes").returncode == 0
    wait_until(lambda: not lives(pid), seconds=20, why="it has ended")


def test_workers_of_rq_rest_until_they_are_woken(
    call: Call, redis_server: Any, make_rq: Callable[..., Any]
) -> None:
    """The one that waits at that moment takes one more job, and no other."""
    rq = make_rq(redis_server.url)
    rq.start_worker("w1", "mail")
    wait_until(lambda: "w1" in call("workers", rq.url).stdout, seconds=20, why="it is there")

    def worker(what: str) -> str:
        done = call("worker", what, rq.url, "--yes")
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "takes one more" in worker("suspend")
    assert "rest already" in worker("suspend")
    jobs = [job.id for job in rq.put("mail", 3)]
    with redis.Redis.from_url(rq.url) as server:
        wait_until(lambda: server.hget("rq:worker:w1", "state") == b"suspended", seconds=20)
    assert rq.status(jobs[0]) in {"finished", "queued"}
    assert [rq.status(id_) for id_ in jobs[1:]] == ["queued", "queued"]
    assert '"paused": true' in call("queues", rq.url, "--format", "json").stdout

    assert "work again: done" in worker("wake")
    wait_until(lambda: rq.status(jobs[-1]) == "finished", seconds=20, why="it works again")
    assert "do not rest" in worker("wake")


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[tuple[str, str, int]]:
    """A worker of bgworker: the queue's address, its name and its process."""
    (tmp_path / "work.py").write_text(
        "from bgworker import BgWorker\nbg = BgWorker()\n\n"
        '@bg.task(name="note")\ndef note(path, text=""):\n    open(path, "w").write(text)\n'
    )
    url = f"sqlite:///{tmp_path}/jobs.db"
    BgWorker(url).close()
    with subprocess.Popen(
        [sys.executable, "-m", "bgworker.cli", "run", "--app", "work", "--concurrency", "1"],
        cwd=tmp_path,
        env={**os.environ, "BGWORKER_URL": url, "BGWORKER_LOG": "json"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        yield url, json.loads(process.stderr.readline())["worker"], process.pid
        process.kill()


def test_a_worker_of_bgworker_gets_a_job_and_the_signal_to_end(
    call: Call, worker: tuple[str, str, int], tmp_path: Path
) -> None:
    url, name, pid = worker
    target = tmp_path / "note"

    arguments = json.dumps([str(target)])
    sent = call("send", "note", "--args", arguments, "--kwargs", '{"text": "ü"}', url, "--yes")
    assert (sent.returncode, sent.stderr) == (0, "")
    wait_until(lambda: target.exists() and target.read_text() == "ü", seconds=20, why="it ran")
    refused = call("worker", "grow", "1", name, url, "--yes")
    assert (refused.returncode, "listens to shutdown only" in refused.stderr) == (1, True)
    done = call("worker", "shutdown", name, url, "--yes")
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: not lives(pid), seconds=20, why="it has ended")
    gone = call("worker", "shutdown", name, url, "--yes")
    assert gone.returncode == 1
    assert "no worker" in gone.stderr or "offline" in gone.stderr
