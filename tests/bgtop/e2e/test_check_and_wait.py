"""``bgtop check`` and ``bgtop wait`` on real brokers: each exit status by what really happens."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest
from scripted_source import BGTOP, Script

from bgtop.testing import wait_until

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rq(redis_server: Any, make_rq: Callable[..., Any]) -> Any:
    return make_rq(redis_server.url)


def check(call: Run, *arguments: str) -> tuple[int, str]:
    done = call("check", *arguments)
    assert (done.stderr, done.stdout.count("\n")) == ("", 1)
    word = done.stdout.split()[1]
    assert word == ["OK", "WARNING", "CRITICAL", "UNKNOWN"][done.returncode]
    return done.returncode, done.stdout


def test_thresholds_on_a_real_queue(call: Run, rq: Any) -> None:
    url = f"rq+{rq.url}"
    rq.put("mail", 3)

    status, line = check(call, url, "--warn-depth", "2", "--max-depth", "5", "--max-age", "60")
    assert status == 1
    assert "mail: 3 waiting, more than 2" in line
    numbers = line.partition(" | ")[2]
    assert re.search(r"\bdepth=3 deepest=3;2;5 oldest=[\d.]+s;;60 workers=0 ", numbers)

    assert check(call, url, "--max-depth", "mail=3")[0] == 0
    assert check(call, url)[1].startswith("BGTOP OK - ")
    assert ": 1 queue, 3 waiting, 0 workers |" in check(call, url)[1]
    assert "- 0 workers, fewer than 1 |" in check(call, url, "--min-workers", "1")[1]
    assert check(call, url, "--max-depth", "mail=2")[0] == 2
    assert check(call, url, "--max-depth", "male=2")[0] == 3
    assert check(call, url, "--no-consumer")[0] == 2
    assert check(call, url, "--min-workers", "1")[0] == 2
    assert check(call, url, "--max-age", "mail=0")[0] == 2

    rq.put("bad", task="fail")
    rq.work_off("mail", "bad")
    assert check(call, url, "--no-consumer", "--max-failed", "1")[0] == 0
    status, line = check(call, url, "--max-failed", "0")
    assert (status, "1 failed job, more than 0" in line) == (2, True)


def test_a_number_of_which_a_part_is_unknown_is_left_out_of_the_graphs(
    call: Run, celery: Any, rq: Any
) -> None:
    celery.put("mail")
    rq.put("bad", task="fail")
    rq.work_off("bad")

    both = check(call, celery.url)[1]
    one = check(call, f"rq+{rq.url}")[1]

    assert " failed=U" in both
    assert " depth=1 " in both
    assert " failed=1" in one


def test_what_a_system_does_not_tell_is_unknown(call: Run, celery: Any) -> None:
    celery.put("mail")

    status, line = check(call, f"celery+{celery.url}", "--max-failed", "0")

    assert status == 3
    assert "celery does not tell how many jobs failed" in line


def test_a_server_that_is_not_there_is_critical_and_no_system_unknown(
    call: Run, redis_server: Any
) -> None:
    assert check(call, redis_server.url)[0] == 3
    redis_server.stop()

    status, line = check(call, redis_server.url)

    assert status == 2
    assert "connection refused" in line


@pytest.mark.parametrize(
    "arguments",
    [["--max-depth", "many"], ["--nonsense"], ["gopher://h"], ["--config", "nowhere"], []],
)
def test_wrong_usage_is_unknown(arguments: list[str], call: Run) -> None:
    assert check(call, *arguments)[0] == 3


def test_names_cannot_break_the_line(call: Run, script: Script) -> None:
    script.queues("a|b\n'c=d'")

    _, line = check(call, script.url, "--max-depth", "a|b\n'c=d'=0")

    assert line.count("|") == 1
    assert "'a/b\\x0a''c:d'' depth'=1;;0" in line


def test_waiting_until_a_worker_has_done_it_all(
    call: Run, rq: Any, environment: dict[str, str]
) -> None:
    url = f"rq+{rq.url}"
    rq.put("mail", 3)
    done = call("wait", url, "--queue", "mail", "--empty", "--timeout", "2")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "bgtop: not within 2 s: mail: 3 waiting\n"
    assert call("wait", url, "--queue", "mail", "--depth-below", "4").returncode == 0

    command = [BGTOP, "wait", url, "--queue", "mail", "--idle", "--timeout", "25"]
    with subprocess.Popen(command, env=environment) as waiting:
        wait_until(lambda: rq.redis.info("clients")["connected_clients"] > 1)
        assert waiting.poll() is None
        rq.work_off("mail")
        assert waiting.wait(20) == 0


def test_a_server_that_comes_later_is_waited_for(
    redis_server: Any, environment: dict[str, str], call: Run
) -> None:
    url = f"rq+{redis_server.url}"
    redis_server.stop()
    began = time.monotonic()
    late = call("wait", url, "--queue", "mail", "--empty", "--timeout", "1")
    assert late.returncode == 1
    assert "connection refused" in late.stderr
    assert time.monotonic() - began >= 1

    command = [BGTOP, "wait", url, "--queue", "mail", "--empty", "--timeout", "25"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as waiting:
        redis_server.start()
        assert waiting.wait(20) == 0
        assert waiting.stderr is not None
        assert "there is no queue mail" in waiting.stderr.read()


def test_who_waits_for_a_queue_need_not_wait_for_the_workers(
    call: Run, celery: Any, wait_until: Any
) -> None:
    """A killed one of Celery stays announced, and whether it speaks is known after some seconds."""
    node = celery.start_worker("gone", "mail")
    celery.put("mail")
    done = call("wait", f"celery+{celery.url}", "--queue", "mail", "--idle", "--timeout", "40")
    assert done.returncode == 0
    celery.kill(node)

    for address in (f"celery+{celery.url}", celery.url):
        done = call("wait", address, "--queue", "mail", "--empty", "--timeout", "3.5")
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "arguments",
    [["--empty"], ["--queue", "q"], ["--queue", "q", "--empty", "--depth-below", "3"]],
)
def test_waiting_for_nothing_or_for_two_things_is_wrong(arguments: list[str], call: Run) -> None:
    assert call("wait", "redis://h", *arguments).returncode == 2


def test_who_takes_from_a_queue_of_celery_is_asked_of_its_workers(
    call: Run, celery: Any, wait_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker, which takes from one queue of two and has no time for more."""
    url = f"celery+{celery.url}"
    node = celery.start_worker("taker", "mail")
    celery.put("mail", 4, task="wait")
    wait_until(lambda: check(call, url, "--min-workers", "1", "--max-depth", "mail=3")[0] == 0)

    status, line = check(call, url, "--no-consumer", "--queue-filter", "mail")
    assert (status, "mail" in line.partition("|")[0]) == (0, False)

    celery.put("lost", 2)
    for address in (url, celery.url):
        status, line = check(call, address, "--no-consumer")
        assert status == 2
        assert "BGTOP CRITICAL - lost: 2 waiting and no consumer |" in line
        assert _without_consumer(call, address) == ["lost"]

    with monkeypatch.context() as patch:
        patch.setenv("BGTOP_READ_ONLY", "1")
        status, line = check(call, url, "--no-consumer")
        assert _without_consumer(call, url) == []
    assert status == 3
    assert "lost: 2 waiting, and who takes them cannot be told" in line

    celery.kill(node)
    status, line = check(call, url, "--no-consumer")
    assert status == 2
    assert "lost: 2 waiting and no consumer; mail: " in line


def _without_consumer(call: Run, address: str) -> list[str]:
    """The queues that the doctor finds."""
    found = json.loads(call("doctor", address, "--for", "0", "--format", "json").stdout)
    return [one["subject"] for one in found["findings"] if one["code"] == "no-consumer"]


def test_a_worker_that_nothing_announces_is_heard_before_it_is_missed(
    call: Run, celery: Any, wait_until: Any
) -> None:
    """Without remote control there is no trace of it but the heartbeats."""
    url = f"celery+{celery.url}"
    celery.start_worker("quiet", "mail", TEST_NO_REMOTE_CONTROL="1")
    celery.put("mail", 4, task="wait")
    wait_until(lambda: check(call, url, "--max-depth", "mail=3")[0] == 0)

    assert check(call, url, "--min-workers", "1")[0] == 0
    status, line = check(call, url, "--no-consumer")
    assert status == 3
    assert "waiting, and who takes them cannot be told" in line


def test_workers_of_one_of_two_applications_take_from_its_queues_only(
    call: Run, redis_server: Any, make_celery: Callable[..., Any], wait_until: Any
) -> None:
    """Nor does the name of a worker say more: this one begins as one of the queues does."""
    url = f"celery+{redis_server.url}"
    one, other = (make_celery(redis_server.url, prefix=prefix) for prefix in ("a:", "b:"))
    one.start_worker("e1", "mail")
    one.put("mail", 4, task="wait")
    wait_until(lambda: check(call, url, "--max-depth", "mail=3")[0] == 0)
    one.put("email", 2)
    status, line = check(call, url, "--no-consumer")
    assert status == 2
    assert "BGTOP CRITICAL - email: 2 waiting and no consumer |" in line

    other.put("mail", 2)
    line = check(call, url, "--no-consumer")[1]
    said = "a:email: 2 waiting and no consumer; b:mail: 2 waiting and no consumer |"
    assert f"BGTOP CRITICAL - {said}" in line
