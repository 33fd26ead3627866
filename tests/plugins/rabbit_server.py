"""A real RabbitMQ node of our own: its name, ports, cookie and data are shared with nobody."""

from __future__ import annotations

import base64
import http.client
import json
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from certificates import make_certificate
from ending import kill

from bgtop.testing import wait_until

PASSWORD = "correct-horse"
"""Of the monitoring user ``mon``, who sees everything and may change nothing."""

# The command on the PATH changes the user when root starts it; this is the server itself.
_SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
_START_SECONDS = 120.0

_ONE_SMALL_PROCESSOR = (
    "-kernel inet_dist_use_interface {127,0,0,1} "
    "+S 1:1 +A 8 +sbwt none +sbwtdcpu none +sbwtdio none"
)


OWN: Final = r"^bgtop\."
"""The names of the queues bgtop makes for itself."""

_PLUGINS: Final = re.compile(r"(?!rabbitmq_)|rabbitmq_(management|web_dispatch|prelaunch)")
"""Of the folders beside the server, those the node needs; it looks for each module in each."""


def _server() -> str:
    """The program; ``BGTOP_TEST_RABBITMQ_SERVER`` is that of another release."""
    installed = _SERVER if os.path.exists(_SERVER) else shutil.which("rabbitmq-server")
    path = os.environ.get("BGTOP_TEST_RABBITMQ_SERVER") or installed
    if path is None or shutil.which("epmd") is None:
        pytest.skip("needs rabbitmq-server: apt-get install rabbitmq-server")
    return path


def quiet_ports(count: int) -> list[int]:
    """So many free ports of 127.0.0.1 that no outgoing connection is ever given.

    A node takes seconds to start, and is started again on its own ports.
    """
    candidates = random.sample(range(15_700, 32_000), 1_000)
    return list(islice((port for port in candidates if _is_free(port)), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe, suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


class RabbitNode:
    """One node with the management plug-in, started once and shared; each test has a vhost."""

    def __init__(self, folder: Path) -> None:
        self.program = _server()
        self.folder = folder
        self.port, self.management_port, *others = quiet_ports(6)
        self.tls_port, self.tls_management_port, self._dist_port, self._mapper_port = others
        self._name = f"bgtop{self.port}@localhost"
        self.certificate, self._key = make_certificate(folder)
        self._mapper: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._vhosts = 0
        (folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        self._plugins = self._link_plugins()
        (folder / "rabbitmq.conf").write_text(self._configuration())

    def _link_plugins(self) -> dict[str, str]:
        """A start takes an eighth less where dozens of other plug-ins are not looked through."""
        installed = Path(self.program).resolve().parents[1] / "plugins"
        if not installed.is_dir():
            return {}
        ours = self.folder / "plugins"
        ours.mkdir()
        for one in installed.iterdir():
            if _PLUGINS.match(one.name):
                (ours / one.name).symlink_to(one)
        return {"RABBITMQ_PLUGINS_DIR": str(ours)}

    def _configuration(self) -> str:
        lines = {
            "listeners.tcp.1": f"127.0.0.1:{self.port}",
            "management.tcp.ip": "127.0.0.1",
            "management.tcp.port": str(self.management_port),
            "vm_memory_high_watermark.absolute": "512MB",
            "disk_free_limit.absolute": "10MB",
            # A node of its own for these would take ten seconds to start.
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "ssl_options.certfile": str(self.certificate),
            "ssl_options.keyfile": str(self._key),
            "ssl_options.verify": "verify_none",
            "management.ssl.ip": "127.0.0.1",
            "management.ssl.port": str(self.tls_management_port),
            "management.ssl.certfile": str(self.certificate),
            "management.ssl.keyfile": str(self._key),
            # Statistics follow at once; the default is every five seconds.
            "collect_statistics_interval": "300",
        }
        return "".join(f"{key} = {value}\n" for key, value in lines.items())

    def _environment(self) -> dict[str, str]:
        place = str(self.folder)
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        return {
            **inherited,
            "HOME": place,
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": f"{place}/mnesia",
            "RABBITMQ_LOG_BASE": f"{place}/log",
            "RABBITMQ_PID_FILE": f"{place}/rabbit.pid",
            "RABBITMQ_CONFIG_FILE": f"{place}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{place}/none.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{place}/enabled_plugins",
            **self._plugins,
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _ONE_SMALL_PROCESSOR,
        }

    def start(self) -> None:
        """Start (again, with the same data and ports) and wait until it can be used."""
        environment = self._environment()
        if self._mapper is None:
            # Started here, because one that a node starts for itself outlives it.
            self._mapper = self._run(environment, shutil.which("epmd") or "epmd")
            wait_until(lambda: _listens(self._mapper_port), why="epmd listens")
        self._process = self._run(environment, self.program)
        wait_until(self._is_up, seconds=_START_SECONDS, every=0.1, why=f"RabbitMQ in {self.folder}")

    def _run(self, environment: dict[str, str], *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "output.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _is_up(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "output.log").read_text()
        with suppress(OSError, http.client.HTTPException):
            return (
                _listens(self.port) and self.get("/health/checks/virtual-hosts")["status"] == "ok"
            )
        return False

    def send_signal(self, number: int) -> None:
        """To the node and all its parts."""
        assert self._process is not None
        os.killpg(self._process.pid, number)

    @property
    def runs(self) -> bool:
        """Whether it was started, and not stopped since."""
        return self._process is not None

    def stop(self) -> None:
        """End it at once, as when its machine is lost. Safe to repeat."""
        if self._process is not None:
            kill(self._process)
            self._process = None

    def close(self) -> None:
        """End everything that was started."""
        self.stop()
        if self._mapper is not None:
            kill(self._mapper)
            self._mapper = None

    def call(self, module: str, function: str, arguments: str) -> None:
        """Run a function in the node, as rabbitmqctl does, which itself takes seconds to start."""
        done = subprocess.run(
            ["erl_call", "-n", self._name, "-a", f"{module} {function} [{arguments}]"],
            env=self._environment(),
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=50,
        )
        assert done.stdout == "ok", done

    @cached_property
    def wants_rights(self) -> bool:
        """Whether to ask for a queue takes any right to it, as since RabbitMQ 4.2.6."""
        version = self.get("/overview")["rabbitmq_version"]
        return tuple(int(part) for part in version.split(".")[:3]) >= (4, 2, 6)

    def get(self, path: str) -> Any:
        """What the management API answers to its administrator."""
        return self.request("GET", path)

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One request of the management API; fails unless it is accepted."""
        connection = http.client.HTTPConnection("127.0.0.1", self.management_port, timeout=30)
        headers = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode()}
        try:
            connection.request(method, "/api" + path, json.dumps(body), headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        assert answer.status < 300 or (method, answer.status) == ("DELETE", 404), content
        return json.loads(content) if content else None

    @contextmanager
    def vhost(self, name: str = "") -> Iterator[RabbitVhost]:
        """A fresh vhost, removed at the end."""
        self._vhosts += 1
        vhost = RabbitVhost(self, name or f"test/{self._vhosts}")
        yield vhost
        if self._process is not None:
            self.request("DELETE", f"/vhosts/{quote(vhost.name, safe='')}")


class RabbitVhost:
    """What one test uses of a node: ``guest`` may do everything in it, ``mon`` may only look."""

    def __init__(self, node: RabbitNode, name: str) -> None:
        self.node = node
        self.name = name
        self.quoted = quote(name, safe="")
        node.request("PUT", f"/vhosts/{self.quoted}", {})
        self.allow("guest")
        node.request("PUT", "/users/mon", {"password": PASSWORD, "tags": "monitoring"})
        # Its own event queue, and to read what Celery's workers say; nothing else.
        self.allow("mon", configure=OWN, write=OWN, read=r"^(bgtop\.|celeryev$)")

    def allow(self, user: str, configure: str = ".*", write: str = ".*", read: str = ".*") -> None:
        """Give a user these rights in this vhost, as regular expressions."""
        rights = {"configure": configure, "write": write, "read": read}
        self.node.request("PUT", f"/permissions/{self.quoted}/{user}", rights)

    def let_ask(self) -> None:
        """Let ``mon`` see queues without the management API, where that takes a right."""
        if self.node.wants_rights:
            self.allow("mon", configure=OWN, write=OWN)

    @property
    def url(self) -> str:
        """With every right, as an application has them."""
        return f"amqp://guest:guest@127.0.0.1:{self.node.port}/{self.quoted}"

    @property
    def monitor_url(self) -> str:
        """As the recommended user, without a word on the management API."""
        return f"amqp://mon:{PASSWORD}@127.0.0.1:{self.node.port}/{self.quoted}"

    @property
    def management(self) -> str:
        return f"http://127.0.0.1:{self.node.management_port}"

    def queues(self) -> dict[str, dict[str, Any]]:
        """What the management API tells of the queues of this vhost, by name."""
        path = f"/queues/{self.quoted}?disable_stats=true&enable_queue_totals=true"
        return {queue["name"]: queue for queue in self.node.get(path)}

    def contents(self) -> dict[str, Any]:
        """Everything of this vhost that a reader must not change."""
        found = self.node.get(f"/definitions/{self.quoted}")
        kept = {
            name: (queue["messages_ready"], queue["messages_unacknowledged"])
            for name, queue in self.queues().items()
            if not queue.get("exclusive")
        }
        return {**{key: found[key] for key in ("queues", "exchanges", "bindings")}, "kept": kept}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
