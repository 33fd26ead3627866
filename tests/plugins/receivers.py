"""What takes numbers: real carbon, StatsD, Bucky and Prometheus, on free ports."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import urllib.request
from contextlib import suppress
from importlib import util
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from ending import end, kill
from redis_server import free_port, program

from bgtop.testing import wait_until

ROOT = Path(__file__).parents[2]
GRAPHITE = ROOT / ".venvs/graphite/bin"
STATSD = ROOT / ".venvs/statsd/node_modules/statsd"

# Bucky asks its thread whether it lives, which Python 3 denies after a fork. What it writes as
# plain text it does not encode, so it has to speak pickle.
_BUCKY = """
from bucky import main, statsd
statsd.StatsDHandler.is_alive = lambda _: True
main.main()
"""


@functools.cache
def _whisper() -> Any:
    """The library itself, which is one file; a process for each reading would take far longer."""
    [path] = GRAPHITE.parent.glob("lib/python3*/site-packages/whisper.py")
    spec = util.spec_from_file_location("whisper", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Receiver:
    """A program that can be stopped and started again on the same ports."""

    ports: tuple[int, ...] = ()

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def start(self) -> None:
        environment = {**os.environ, "GRAPHITE_ROOT": str(self.folder)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        for port in self.ports:
            wait_until(lambda port=port: self.answers(port), seconds=40, why=f"{self.log}")

    def answers(self, port: int) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    def stop(self) -> None:
        if self.process is not None:
            end(self.process)

    def close(self) -> None:
        if self.process is not None:
            kill(self.process)


class Carbon(Receiver):
    """``carbon-cache`` with a point each second, and what whisper has of it."""

    def __init__(self, folder: Path) -> None:
        if not (GRAPHITE / "carbon-cache.py").exists():
            pytest.skip("make receivers")
        super().__init__(folder)
        self.port, self.pickle_port, query = self.ports = (free_port(), free_port(), free_port())
        conf = folder / "conf"
        conf.mkdir()
        (conf / "carbon.conf").write_text(
            f"""[cache]
STORAGE_DIR = {folder}
LOCAL_DATA_DIR = {folder}/whisper
CONF_DIR = {conf}
LOG_DIR = {folder}
PID_DIR = {folder}
ENABLE_LOGROTATION = False
MAX_CREATES_PER_MINUTE = inf
MAX_UPDATES_PER_SECOND = inf
LINE_RECEIVER_INTERFACE = 127.0.0.1
LINE_RECEIVER_PORT = {self.port}
PICKLE_RECEIVER_INTERFACE = 127.0.0.1
PICKLE_RECEIVER_PORT = {self.pickle_port}
CACHE_QUERY_INTERFACE = 127.0.0.1
CACHE_QUERY_PORT = {query}
LOG_UPDATES = False
"""
        )
        (conf / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")

    def command(self) -> list[str]:
        (self.folder / "carbon-cache-a.pid").unlink(missing_ok=True)
        config = str(self.folder / "conf/carbon.conf")
        carbon = str(GRAPHITE / "carbon-cache.py")
        return [str(GRAPHITE / "python"), carbon, "--nodaemon", "--config", config, "start"]

    def points(self, name: str) -> dict[int, float]:
        """What whisper has stored under this name, by the second."""
        return _stored(self.folder / "whisper" / f"{name.replace('.', '/')}.wsp")

    def total(self, name: str) -> float:
        """Everything ever counted under this name."""
        return sum(self.points(name).values())

    def totals(self, branch: str) -> dict[tuple[str, str], float]:
        """Everything counted below a branch with ``*`` in it, by the last two parts of names."""
        files = (self.folder / "whisper").glob(f"{branch.replace('.', '/')}/*/*.wsp")
        return {(path.parent.name, path.stem): sum(_stored(path).values()) for path in files}

    def last(self, name: str) -> float | None:
        """The newest value."""
        points = self.points(name)
        return points[max(points)] if points else None


def _stored(path: Path) -> dict[int, float]:
    read = _whisper().fetch(str(path), 0) if path.exists() else None
    if read is None:
        return {}
    (first, _, step), values = read
    stored = {first + step * at: value for at, value in enumerate(values)}
    return {at: value for at, value in stored.items() if value is not None}


class Statsd(Receiver):
    """StatsD from npm, by UDP, by TCP and at a Unix socket."""

    def __init__(self, folder: Path, carbon: Carbon) -> None:
        if not STATSD.exists():
            pytest.skip("make receivers")
        super().__init__(folder)
        self.port = free_port()
        admin = free_port()
        self.ports = (self.port, admin)
        servers = [
            {"server": f"./servers/{kind}", "address": "127.0.0.1", "port": self.port}
            for kind in ("udp", "tcp")
        ]
        self.socket = folder / "statsd.sock"
        servers.append({"server": "./servers/tcp", "socket": str(self.socket)})
        settings = {
            "servers": servers,
            "mgmt_address": "127.0.0.1",
            "mgmt_port": admin,
            # Whisper keeps one point a second: of two flushes that come within one, the last.
            "flushInterval": 2000,
            "graphiteHost": "127.0.0.1",
            "graphitePort": carbon.port,
            "backends": ["./backends/graphite"],
            "deleteIdleStats": True,
            "graphite": {"legacyNamespace": True},
        }
        (folder / "config.js").write_text(json.dumps(settings))

    def command(self) -> list[str]:
        node = program("node", "apt-get install nodejs")
        return [node, str(STATSD / "stats.js"), str(self.folder / "config.js")]

    def start(self) -> None:
        self.socket.unlink(missing_ok=True)  # it does not take the place of one that was killed
        super().start()


class Bucky(Receiver):
    """Bucky as a StatsD; its names begin with ``bucky``."""

    def __init__(self, folder: Path, carbon: Carbon) -> None:
        if not (GRAPHITE / "bucky").exists():
            pytest.skip("make receivers")
        super().__init__(folder)
        self.port = free_port()
        (folder / "bucky.conf").write_text(
            f"""statsd_enabled = True
statsd_ip = "127.0.0.1"
statsd_port = {self.port}
statsd_flush_time = 1.0
statsd_legacy_namespace = True
statsd_delete_counters = True
graphite_ip = "127.0.0.1"
graphite_port = {carbon.pickle_port}
graphite_pickle_enabled = True
graphite_pickle_buffer_size = 1
graphite_max_reconnects = 1000000
collectd_enabled = False
metricsd_enabled = False
name_prefix = "bucky"
name_host_trim = []
name_strip_duplicates = False
"""
        )

    def command(self) -> list[str]:
        return [str(GRAPHITE / "python"), "-c", _BUCKY, str(self.folder / "bucky.conf")]

    def start(self) -> None:
        super().start()
        wait_until(lambda: "Connected to Carbon" in self.log.read_text(), seconds=40)


class Render(Receiver):
    """Graphite's render interface over what a carbon has written."""

    def __init__(self, folder: Path, carbon: Carbon) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.ports = (self.port,)
        (folder / "render.yaml").write_text(
            f"search_index: {folder}/index\n"
            "time_zone: UTC\n"
            f"whisper: {{directories: [{carbon.folder}/whisper]}}\n"
        )

    def command(self) -> list[str]:
        code = (
            "import os; os.environ['GRAPHITE_API_CONFIG'] = 'render.yaml'; "
            "from graphite_render.app import app; "
            f"app.run('127.0.0.1', {self.port})"
        )
        return [str(GRAPHITE / "python"), "-c", code]

    def ask(self, target: str, since: str = "-60s", most: int = 10_000) -> list[dict[str, Any]]:
        """The series of a target: name and points, at most so many."""
        asked = {"target": target, "from": since, "format": "json", "maxDataPoints": most}
        query = urlencode(asked)
        url = f"http://127.0.0.1:{self.port}/render?{query}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)
        return found


class Prometheus(Receiver):
    """A Prometheus that scrapes these ports once a second."""

    def __init__(self, folder: Path, *targets: int) -> None:
        super().__init__(folder)
        self.port = free_port()
        self.ports = (self.port,)
        listed = ", ".join(f'"127.0.0.1:{port}"' for port in targets)
        (folder / "prometheus.yml").write_text(
            "scrape_configs:\n"
            "  - job_name: bgtop\n"
            "    scrape_interval: 1s\n"
            f"    static_configs: [{{targets: [{listed}]}}]\n"
        )

    def command(self) -> list[str]:
        return [
            program("prometheus", "apt-get install prometheus"),
            f"--config.file={self.folder}/prometheus.yml",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        ]

    def answers(self, port: int) -> bool:
        """It listens before it can answer."""
        if not super().answers(port):
            return False
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready"):
            return True
        return False

    def ask(self, expression: str) -> list[dict[str, Any]]:
        """The answer to an expression of PromQL: labels and values."""
        query = urlencode({"query": expression})
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{query}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def value(self, expression: str) -> float | None:
        """The one value of an expression, or ``None`` where there is none."""
        found = self.ask(expression)
        return float(found[0]["value"][1]) if len(found) == 1 else None
