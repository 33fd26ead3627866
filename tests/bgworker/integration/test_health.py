"""``bgworker run --health``: real workers, asked over real sockets."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bgtop.testing import wait_until

Start = Callable[..., Any]


class Asked:
    """An answer."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self) -> str:
        return self.body.decode()


class Port:
    """Where a worker is asked how it is."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            self.number: int = probe.getsockname()[1]

    def __str__(self) -> str:
        return f"[{self.host}]:{self.number}" if ":" in self.host else f"{self.host}:{self.number}"

    def ask(self, path: str = "/healthz", method: str = "GET", **headers: str) -> Asked:
        with contextlib.closing(
            http.client.HTTPConnection(self.host, self.number, timeout=10)
        ) as connection:
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return Asked(answer.status, dict(answer.headers), answer.read())

    def send(self, data: bytes) -> bytes:
        """What comes back on a connection of its own, until it is closed."""
        with self.connect() as client:
            with contextlib.suppress(OSError):  # it need not hear us out
                client.sendall(data)
            found = b""
            with contextlib.suppress(OSError):
                while part := client.recv(65536):
                    found += part
            return found

    def connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.number), timeout=15)

    def is_open(self) -> bool:
        with contextlib.suppress(OSError), self.connect():
            return True
        return False

    def wait_for(self, status: int, seconds: float = 10) -> Asked:
        """The first answer to /healthz with this status."""

        def found() -> Asked | None:
            with contextlib.suppress(OSError, http.client.HTTPException):
                answer = self.ask()
                return answer if answer.status == status else None
            return None

        return wait_until(found, seconds=seconds, why=f"/healthz says {status}")

    def metrics(self) -> dict[str, float]:
        """By name and labels, as Prometheus reads them."""
        answer = self.ask("/metrics")
        assert answer.status == 200, answer.text
        return {
            sample.name
            + "".join(f" {value}" for _, value in sorted(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }


@pytest.fixture(scope="module")
def lasting_port() -> Port:
    return Port()


@pytest.fixture
def port(request: pytest.FixtureRequest, lasting_port: Port) -> Port:
    """That of ``healthy``, or the test's own."""
    return lasting_port if "healthy" in request.fixturenames else Port()


@pytest.fixture
def healthy(standing: Start, port: Port) -> Any:
    """A worker that has said that it is well, and shall be so after the test."""
    running = standing("--health", str(port))
    port.wait_for(200)
    return running


@pytest.fixture
def own(worker: Start, port: Port) -> Any:
    """A worker that has said that it is well, and whose end or queue is the test's business."""
    running = worker("--health", str(port))
    port.wait_for(200)
    return running


def move_away(folder: Path) -> None:
    """The database and its log."""
    for name in ("jobs.db", "jobs.db-wal", "jobs.db-shm"):
        (folder / name).rename(folder / f"old-{name}")


def server_of(running: Any) -> int:
    """The process that answers."""
    (pid,) = [pid for pid, words in running.marked.alive().items() if "health_server" in words]
    return int(pid)


# /healthz


def test_a_worker_that_is_well_says_so(healthy: Any, port: Port) -> None:
    answer = port.ask()
    told = json.loads(answer.body)

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert told.pop("heartbeat_age_seconds") < 5
    assert told == {
        "status": "ok",
        "worker": healthy.wait_for("worker_start")["worker"],
        "children": 2,
        "running": 0,
    }


def test_threads_are_counted_as_children(worker: Start, port: Port, jobs: Any) -> None:
    running = worker("--pool", "thread", "--health", str(port))
    port.wait_for(200)
    job = jobs.nap.delay(30)
    running.wait_for_run(job.id)
    told = json.loads(port.ask().body)

    assert (told["children"], told["running"]) == (2, 1)
    job.cancel()


def test_what_runs_is_counted(healthy: Any, port: Port, jobs: Any) -> None:
    job = jobs.nap.delay(30)
    healthy.wait_for_run(job.id)

    assert json.loads(port.ask().body)["running"] == 1
    job.cancel()


def test_a_stopped_supervisor_is_told_and_so_is_that_it_goes_on(healthy: Any, port: Port) -> None:
    healthy.signal(signal.SIGSTOP)
    try:
        answer = port.wait_for(503, seconds=15)
    finally:
        healthy.signal(signal.SIGCONT)

    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.text.startswith("the worker's loop has not turned for ")
    assert answer.text.endswith(" s: it is stopped, or it hangs\n")
    port.wait_for(200)


@pytest.mark.parametrize("how", ["moved", "unreadable"])
def test_a_database_that_cannot_be_read_is_told(
    own: Any, port: Port, tmp_path: Path, how: str
) -> None:
    own.signal(signal.SIGSTOP)  # it would notice, too, and stop
    database = tmp_path / "jobs.db"
    move_away(tmp_path)
    if how == "unreadable":
        database.write_bytes(b"this is no database" * 100)
    try:
        answer = wait_until(
            lambda: found if str(database) in (found := port.ask()).text else None, why="told"
        )
        metrics = port.ask("/metrics")
    finally:
        own.signal(signal.SIGKILL)
        own.wait()

    assert (answer.status, metrics.status) == (503, 503)
    assert answer.text == metrics.text
    assert answer.text.count("\n") == 1


def test_another_queue_in_the_place_of_ours_is_told(
    own: Any, port: Port, tmp_path: Path, cli: Start
) -> None:
    own.signal(signal.SIGSTOP)
    move_away(tmp_path)
    try:
        assert cli("enqueue", "t", "--url", f"sqlite:///{tmp_path}/jobs.db").code == 0
        answer = wait_until(
            lambda: found if "file" in (found := port.ask()).text else None, why="told"
        )
    finally:
        own.signal(signal.SIGKILL)
        own.wait()

    assert answer.status == 503
    assert answer.text == (f"{tmp_path}/jobs.db is not the file this worker works on any more\n")


def test_a_worker_without_children_is_told(healthy: Any, port: Port) -> None:
    zygote, children = healthy.zygote(), healthy.children()
    os.kill(zygote, signal.SIGSTOP)  # it neither tells of deaths nor forks
    try:
        for child in children:
            os.kill(child, signal.SIGKILL)
        answer = port.wait_for(503, seconds=15)
    finally:
        os.kill(zygote, signal.SIGCONT)

    assert answer.text == "the worker has no process that could run a job\n"
    port.wait_for(200)


# /metrics


def test_metrics_count_jobs_workers_and_runs(own: Any, port: Port, jobs: Any) -> None:
    jobs.add.delay(1, 2).result(10)
    jobs.add.options(queue="later", countdown=3600).delay(1, 2)
    jobs.bg.pause("held")
    jobs.add.options(queue="held").delay(1, 2)
    found = wait_until(
        lambda: m if (m := port.metrics()).get("bgworker_jobs held queued") == 1 else None,
        why="metrics follow",
    )

    assert found["bgworker_jobs default succeeded"] == 1
    assert found["bgworker_jobs later scheduled"] == 1
    assert found["bgworker_jobs_ended_total default succeeded"] == 1
    assert found["bgworker_jobs_ended_total default dead"] == 0
    assert found["bgworker_run_seconds_count default"] == 1
    assert 0 <= found["bgworker_run_seconds_sum default"] < 10
    assert 0 < found["bgworker_oldest_age_seconds held"] < 60
    assert found["bgworker_oldest_age_seconds default"] == 0
    assert (found["bgworker_queue_paused held"], found["bgworker_queue_paused default"]) == (1, 0)
    assert found["bgworker_workers idle"] + found["bgworker_workers active"] == 1
    assert found["bgworker_slots"] == 2
    assert found["bgworker_rescued_total"] == found["bgworker_stale_writes_total"] == 0
    text = port.ask("/metrics").text
    assert own.wait_for("worker_start")["worker"] not in text


def test_the_format_is_the_one_that_is_asked_for(healthy: Any, port: Port) -> None:
    plain = port.ask("/metrics")
    new = port.ask("/metrics", Accept="application/openmetrics-text; version=1.0.0")

    assert plain.headers["Content-Type"].startswith("text/plain; version=")
    assert new.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert new.text.endswith("# EOF\n")


def test_scrapes_share_one_look_at_the_database(own: Any, port: Port, jobs: Any) -> None:
    port.ask("/metrics")
    jobs.bg.pause("held")
    jobs.add.options(queue="held").delay(1, 2)
    stale = sum("held" in port.ask("/metrics").text for _ in range(3))
    wait_until(lambda: "held" in port.ask("/metrics").text, why="a second later it is looked anew")

    assert stale in range(3)


def test_without_the_library_metrics_say_what_to_install(
    worker: Start, port: Port, tmp_path: Path
) -> None:
    missing = tmp_path / "missing" / "prometheus_client"
    missing.mkdir(parents=True)
    (missing / "__init__.py").write_text("raise ImportError('it is not installed')\n")
    path = os.pathsep.join([str(missing.parent), str(Path(__file__).parents[1] / "apps")])
    worker("--health", str(port), env={"PYTHONPATH": path})
    port.wait_for(200)
    answer = port.ask("/metrics")

    assert answer.status == 501
    assert answer.text == (
        "metrics need a library that is not installed: pip install 'bgtop[metrics]'\n"
    )


# HTTP


def test_heads_paths_and_methods(healthy: Any, port: Port) -> None:
    for path in ("/healthz", "/metrics"):
        head = port.ask(path, "HEAD")
        assert (head.status, head.body) == (200, b"")
        assert int(head.headers["Content-Length"]) > 0
    assert port.ask("/healthz?probe=1").status == 200
    assert [port.ask(path).status for path in ("/", "/healthz/", "/../etc/passwd")] == [404] * 3
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "BREW"):
        refused = port.ask("/healthz", method)
        assert (refused.status, refused.headers["Allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b"400"),
        (b"GET\r\n\r\n", b"400"),
        (b"GET /healthz HTTP/9.9\r\n\r\n", b"505"),
        (b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n", b"431"),
        (b"GET /healthz HTTP/1.1\r\n" + b"X: y\r\n" * 5_000 + b"\r\n", b"431"),
    ],
)
def test_hostile_requests_are_refused_and_do_no_harm(
    healthy: Any, port: Port, data: bytes, status: bytes
) -> None:
    found = port.send(data)

    assert found == b"" or status in found.partition(b"\r\n")[0]
    assert port.ask().status == 200
    assert all("event" in line for line in map(json.loads, healthy.words().splitlines()))


def test_clients_that_hold_their_connections_keep_nobody_out(healthy: Any, port: Port) -> None:
    with contextlib.ExitStack() as held:
        slow = [held.enter_context(port.connect()) for _ in range(100)]
        for client in slow:
            with contextlib.suppress(OSError):  # the first have been cut off by now
                client.sendall(b"GET /healthz HTTP/1.1\r\nX-Slow: ")

        assert port.ask().status == 200
        with open(f"/proc/{server_of(healthy)}/status", encoding="ascii") as file:
            threads = next(line for line in file if line.startswith("Threads"))
        assert int(threads.split()[1]) <= 50


def test_a_client_that_sends_a_byte_now_and_then_is_cut_off(healthy: Any, port: Port) -> None:
    with port.connect() as client:
        client.settimeout(1.0)
        client.sendall(b"GET /healthz HTTP/1.1\r\n")

        def is_cut_off() -> bool:
            try:
                client.sendall(b"X")
                return client.recv(1) == b""
            except TimeoutError:
                return False
            except OSError:
                return True

        wait_until(is_cut_off, seconds=20, why="it was given its time")


# The process


def test_without_the_option_nothing_of_it_is_imported(python: Start, finish: Start) -> None:
    libraries = finish(
        python("""
            import sys
            import bgworker.cli.main, bgworker.worker.run, bgworker.worker.zygote
            unwanted = {"http", "prometheus_client", "opentelemetry", "asyncio", "logging"}
            print(unwanted & {name.partition(".")[0] for name in sys.modules})
            print({"bgworker.worker.health", "bgworker.metrics"} & set(sys.modules))
        """)
    )

    assert libraries.split() == ["set()", "set()"]


def test_it_ends_with_a_worker_that_is_told_to_stop(own: Any, port: Port, jobs: Any) -> None:
    job = jobs.nap.delay(1)
    own.wait_for_run(job.id)
    os.kill(server_of(own), signal.SIGTERM)  # as for all processes of a service
    own.signal(signal.SIGTERM)
    assert port.ask().status == 200  # as long as the job runs
    assert own.wait() == 0

    assert not port.is_open()
    assert job.result(1) == "rested"


def test_it_ends_with_a_worker_that_is_killed(own: Any, port: Port) -> None:
    server = server_of(own)
    own.signal(signal.SIGKILL)
    own.wait()

    wait_until(lambda: not own.is_running(server), seconds=5, why="the server has ended")
    assert not port.is_open()


def test_it_is_replaced_when_it_dies(healthy: Any, port: Port) -> None:
    """Its successor is as safe as itself from what ends the leftovers of tasks."""
    server = server_of(healthy)
    wait_until(lambda: age_of(server) > 2.5, why="it has lived for a while")
    os.kill(server, signal.SIGKILL)
    healthy.wait_for("health_lost")

    port.wait_for(200)
    assert server_of(healthy) != server
    assert_outlives_the_zygote(healthy, port)


def test_it_is_not_started_again_and_again(worker: Start, port: Port, jobs: Any) -> None:
    running = worker("--health", str(port))
    os.kill(wait_until(lambda: server_of(running), why="it is there"), signal.SIGKILL)

    assert running.wait_for("health_lost")["detail"] == "it is not started again"
    assert jobs.add.delay(1, 2).result(10) == 3


def test_a_zygote_that_is_replaced_does_not_take_it_along(healthy: Any, port: Port) -> None:
    assert_outlives_the_zygote(healthy, port)


def assert_outlives_the_zygote(healthy: Any, port: Port) -> None:
    """And the same server still answers."""
    server, zygote = server_of(healthy), healthy.zygote()
    os.kill(zygote, signal.SIGKILL)
    wait_until(lambda: healthy.zygotes() not in ([], [zygote]), why="another zygote")

    port.wait_for(200)
    assert server_of(healthy) == server


def test_over_ipv6(worker: Start) -> None:
    port = Port("::1")
    worker("--health", str(port))

    assert port.wait_for(200).status == 200


@pytest.fixture
def taken() -> Iterator[Port]:
    port = Port()
    with socket.socket() as other:
        other.bind((port.host, port.number))
        other.listen()
        yield port


def run(marked: Any, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bgworker.cli", "run", "--app", "jobs", *options],
        cwd=folder,
        env=marked.environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_a_port_that_is_taken_is_one_line(marked: Any, tmp_path: Path, taken: Port) -> None:
    done = run(marked, tmp_path, "--health", str(taken))

    assert done.returncode == 1
    assert done.stderr == (
        f"bgworker: --health: cannot listen on 127.0.0.1 port {taken.number}: "
        "Address already in use\n"
    )
    assert list(tmp_path.iterdir()) == []
    assert marked.alive() == {}


def test_a_host_that_is_not_there_is_one_line(marked: Any, tmp_path: Path) -> None:
    done = run(marked, tmp_path, "--health", "no-such-host.invalid:8080")

    assert done.returncode == 1
    assert done.stderr.startswith(
        "bgworker: --health: cannot listen on no-such-host.invalid port 8080: "
    )
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "address",
    [
        *("", "8080", ":8080", "localhost", "localhost:", "localhost:http", "localhost:0"),
        *("localhost:65536", "localhost:-1", "::1:8080", "[::1]", "[]:80", "[localhost]:80"),
        *("localhost:٣", "a\tb:80", "localhost:" + "9" * 5000),
    ],
)
def test_what_is_no_address_is_wrong_usage(cli: Start, address: str) -> None:
    done = cli("run", "--app", "jobs", "--health", address)

    assert done.code == 2
    assert "must be HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080" in done.err


def age_of(pid: int) -> float:
    """Seconds since a process began."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    with open("/proc/uptime", encoding="ascii") as file:
        return float(file.read().split()[0]) - began
