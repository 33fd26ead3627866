"""``bgtop export --prometheus``, scraped by a real Prometheus and looked at by promtool."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ending import end, kill
from receivers import Prometheus
from redis_server import free_port, program
from scripted_source import BGTOP, Script, install

from bgtop.testing import wait_until

RECEIVED = 'bgtop_task_events_total{event="received",task="shop.send",queue="mail"}'


class Served:
    """A scripted source that is exported, and a Prometheus that scrapes it."""

    def __init__(self, folder: Path) -> None:
        self.script = Script(folder / "script.json")
        self.other = Script(folder / "other.json")
        self.port = free_port()
        self.errors = folder / "errors"
        self.environment = {**os.environ, **install(folder / "site"), "HOME": str(folder)}
        self.prometheus = Prometheus(folder / "prometheus", self.port)
        self.export: subprocess.Popen[bytes] | None = None

    def tell(self, received: int, since: int = 1, depth: int = 12) -> None:
        counts = {"received": received, "started": received, "succeeded": received}
        series = {"task": "shop.send", "queue": "mail", "counts": counts, "in_flight": 0}
        series["runtime"] = [[0, received], 0.006 * received]
        self.script.write(
            queues=[{"name": "mail", "depth": depth, "oldest": 3.5}],
            workers=[{"name": "celery@h1", "state": "idle", "running": 0}],
            events={"since": since, "series": [series], "missed": 2},
        )

    def start(self) -> None:
        self.tell(30)
        self.other.write(fail="connection refused")
        with self.errors.open("wb") as errors:
            self.export = subprocess.Popen(
                [
                    *(BGTOP, "export", self.script.url, self.other.url, "--interval", "0.5"),
                    *("--prometheus", f"127.0.0.1:{self.port}"),
                ],
                env=self.environment,
                stderr=errors,
            )
        self.prometheus.start()
        wait_until(self.listens, seconds=40)

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        self.prometheus.close()
        if self.export is not None:
            kill(self.export)

    def get(self, path: str, **headers: str) -> tuple[bytes, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.read(), answer.headers


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("pull"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_prometheus_reads_back_what_the_source_said(served: Served) -> None:
    ask = served.prometheus.value
    wait_until(lambda: ask(RECEIVED) == 30, seconds=40)

    assert ask('bgtop_queue_depth{queue="mail"}') == 12
    assert ask('bgtop_queue_oldest_age_seconds{queue="mail"}') == 3.5
    assert ask('bgtop_workers{state="idle"}') == 1
    assert ask("sum(bgtop_tasks_in_flight)") == 0
    assert ask("bgtop_events_missed_total") == 2
    assert ask('bgtop_source_up{source="script.json",system="scripted"}') == 1
    assert ask('bgtop_source_up{source="other.json"}') == 0
    median = "histogram_quantile(0.5, sum by (le) (bgtop_task_runtime_seconds_bucket))"
    assert ask(median) == pytest.approx(0.0075)
    labels = served.prometheus.ask("bgtop_snapshot_age_seconds")[0]["metric"]
    assert set(labels) == {"__name__", "instance", "job", "source"}


def test_promtool_has_nothing_to_say(served: Served) -> None:
    promtool = program("promtool", "apt-get install prometheus")
    wait_until(lambda: b"bgtop_task_events_total" in served.get("/metrics")[0])

    checked = subprocess.run(
        [promtool, "check", "metrics"],
        input=served.get("/metrics")[0],
        capture_output=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_openmetrics_gzip_and_parts_are_as_with_any_exporter(served: Served) -> None:
    text, headers = served.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    packed, of_packed = served.get("/metrics?name[]=bgtop_info", **{"Accept-Encoding": "gzip"})

    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")
    assert of_packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed).count(b"\n# TYPE") == 1


def test_healthz_and_what_is_not_there(served: Served) -> None:
    assert served.get("/healthz")[0] == b"ok\n"
    with pytest.raises(urllib.error.HTTPError, match="404") as refused:
        served.get("/nothing")
    refused.value.close()


def test_slow_clients_keep_nobody_waiting(served: Served) -> None:
    slow = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(100)]
    try:
        for link in slow:
            link.sendall(b"GET /metrics HTTP/1.1\r\n")
        assert b"bgtop_source_up" in served.get("/metrics")[0]
    finally:
        for link in slow:
            link.close()


def test_counters_go_on_when_counting_begins_anew_and_while_the_source_is_away(
    served: Served,
) -> None:
    ask = served.prometheus.value
    served.tell(4, since=2)
    wait_until(lambda: ask(RECEIVED) == 34, seconds=20)

    served.script.write(fail="gone")
    wait_until(lambda: ask('bgtop_source_up{source="script.json"}') == 0, seconds=20)
    assert ask(RECEIVED) == 34
    assert "script.json: gone" in served.errors.read_text()

    served.tell(5, since=2, depth=3)
    wait_until(lambda: ask('bgtop_queue_depth{queue="mail"}') == 3, seconds=20)
    assert ask(RECEIVED) == 35
    assert ask(f"resets({RECEIVED}[5m])") == 0


def test_a_source_that_was_down_at_the_start_is_waited_for(served: Served) -> None:
    served.other.queues("late")

    wait_until(lambda: served.prometheus.value('bgtop_queue_depth{queue="late"}') == 1, seconds=20)


def test_it_ends_at_once_when_told_to(served: Served) -> None:
    assert served.export is not None
    end(served.export)
    assert served.export.returncode == 0
    assert "Traceback" not in served.errors.read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "where to?"),
        (["--prometheus", "localhost:http"], "'http' is no port"),
        (["--statsd", "http://h:1"], "http:// is not spoken here"),
        (["--statsd", "::1:8125"], "an IPv6 address is written"),
        (["--graphite", "h:2003", "--tags", "datadog"], "Graphite takes its own tags only"),
        (["--statsd", "h", "--prefix", "a b"], "prefix 'a b'"),
        (["--statsd", "h", "--compat", "flower"], "needs --prometheus"),
        (["--prometheus", "127.0.0.1:0", "--compat", "prom"], "'prom' is none of flower"),
        (["--otlp", "collector:4318"], "is not http://HOST:PORT"),
        (["--exporter", "mine"], "is not NAME=ADDRESS"),
        (["--exporter", "mine=x"], "unknown exporter 'mine'"),
    ],
)
def test_what_is_wrong_with_options_is_a_line(
    arguments: list[str], words: str, call: Callable[..., Any], script: Script
) -> None:
    done = call("export", script.url, *arguments)

    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_address_that_is_taken_is_a_line_and_status_one(
    run: Callable[..., Any], script: Script
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("export", script.url, "--prometheus", f"127.0.0.1:{port}")

    assert done.returncode == 1
    assert "address already in use" in done.stderr
    assert done.stderr.count("\n") == 1


def test_ctrl_c_is_130(environment: dict[str, str], script: Script) -> None:
    import signal

    port = free_port()
    export = subprocess.Popen(
        [BGTOP, "export", script.url, "--prometheus", f"127.0.0.1:{port}"], env=environment
    )
    try:

        def answers() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(answers, seconds=20)
        end(export, signal.SIGINT)
    finally:
        kill(export)
    assert export.returncode == 130


def test_an_exporter_of_a_third_party_that_fails_is_said_and_the_others_go_on(
    environment: dict[str, str], script: Script, tmp_path: Path
) -> None:
    metadata = tmp_path / "third" / "mine-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[bgtop.exporters]\nmine = mine:plugin\n")
    (tmp_path / "third/mine.py").write_text(
        "from bgtop.contracts import ExporterPlugin\n"
        "class Mine:\n"
        "    dropped, trouble = 7, None\n"
        "    def export(self, frame): raise KeyError(self.address)\n"
        "    def close(self): pass\n"
        "def open_mine(address, settings):\n"
        "    mine = Mine(); mine.address = address; return mine\n"
        "plugin = ExporterPlugin(name='mine', summary='fails', open=open_mine)\n"
    )
    port, errors = free_port(), tmp_path / "errors"
    path = f"{tmp_path}/third{os.pathsep}{environment['PYTHONPATH']}"
    with errors.open("wb") as log:
        export = subprocess.Popen(
            [
                *(BGTOP, "export", script.url, "--interval", "0.5", "--exporter", "mine=there"),
                *("--prometheus", f"127.0.0.1:{port}"),
            ],
            env={**environment, "PYTHONPATH": path},
            stderr=log,
        )

    def told() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
                return b'bgtop_export_dropped_total{exporter="mine"} 7.0' in answer.read()
        except OSError:
            return False

    try:
        wait_until(told, seconds=20)
        wait_until(lambda: "--mine: unexpected KeyError: 'there'" in errors.read_text())
        end(export)
    finally:
        kill(export)
    assert export.returncode == 0
    assert errors.read_text().count("\n") == 1
