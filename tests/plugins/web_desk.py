"""A running ``bgtop web`` and what tests say to it, byte by byte if need be."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlencode

from ending import end, kill
from scripted_source import BGTOP

from bgtop.testing import wait_until

_LISTENING = re.compile(r"listening on (?:https?://[^/]*?:(\d+)|unix:([^\s,]+))")


class Answer(NamedTuple):
    """What the server said; a header that came several times has a line for each."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def asked(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    **headers: str,
) -> Answer:
    """What is answered on this connection to one request."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    response = connection.getresponse()
    said: dict[str, str] = {}
    for name, value in response.getheaders():
        before = said.get(name.lower())
        said[name.lower()] = value if before is None else f"{before}\n{value}"
    return Answer(response.status, said, response.read())


class WebServer:
    """The command, started with these arguments; ``lines`` is its standard error so far."""

    def __init__(self, arguments: list[str], environment: Mapping[str, str], folder: Path) -> None:
        self.audit = folder / "state" / "bgtop" / "audit.log"
        self.process = subprocess.Popen(
            [BGTOP, "web", *arguments],
            env={**environment, "XDG_STATE_HOME": str(folder / "state")},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()
        found = wait_until(self._listening, seconds=40, why="the server to listen")
        self.port, self.path = int(found[1] or 0), found[2]
        self.url = f"http://127.0.0.1:{self.port}"
        self.place = "127.0.0.1"
        """Where requests come from; who is locked out comes from elsewhere in 127.0.0.0/8."""

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.lines.extend(self.process.stderr)

    def _listening(self) -> re.Match[str] | None:
        assert self.process.poll() is None, "".join(self.lines)
        return next(filter(None, map(_LISTENING.search, list(self.lines))), None)

    def close(self) -> None:
        if self.process.poll() is None:
            end(self.process)  # type: ignore[arg-type]
        kill(self.process)  # type: ignore[arg-type]
        self._reader.join(5)
        assert self.process.stderr is not None
        self.process.stderr.close()

    def audited(self) -> list[dict[str, Any]]:
        """The lines of the audit log."""
        text = self.audit.read_text() if self.audit.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=20, source_address=(self.place, 0)
        )
        if self.path:
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(20)
            connection.sock.connect(self.path)
        try:
            return asked(connection, method, path, body, **headers)
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, **headers)

    def act(self, request: Any, path: str = "/api/v1/actions", **headers: str) -> Answer:
        """Ask for a change, as JSON."""
        body = json.dumps(request).encode()
        return self.request("POST", path, body, Content_Type="application/json", **headers)

    def form(self, path: str, fields: Mapping[str, str], **headers: str) -> Answer:
        """Send a form as a browser does from one of our own pages, unless told otherwise."""
        body = urlencode(fields).encode()
        named = {"Origin": self.url, "Content_Type": "application/x-www-form-urlencoded", **headers}
        return self.request("POST", path, body, **{k: v for k, v in named.items() if v})

    def log_in(self, name: str, password: str) -> str:
        """The cookie of a new session."""
        said = self.form("/login", {"name": name, "password": password})
        assert said.status == 303, said
        return said.headers["set-cookie"].partition(";")[0]

    def guard_of(self, cookie: str) -> str:
        """The word of a session, from one of its pages."""
        page = self.get("/", Cookie=cookie).body.decode()
        found = re.search(r'data-guard="([^"]+)"', page)
        assert found, page
        return found[1]

    def raw(self, data: bytes, seconds: float = 20.0) -> bytes:
        """What comes back for these bytes until the server closes, or for so long."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            connection.sendall(data)
            said = b""
            try:
                while part := connection.recv(65536):
                    said += part
            except (TimeoutError, ConnectionResetError):
                pass
            return said
