"""The server as others reach it: by TLS of its own, and behind a real nginx as the guide has it."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest
from certificates import Certificate, make_certificate
from ending import end
from redis_server import free_port
from scripted_source import Script, install
from web_desk import Answer, WebServer, asked

from bgtop.testing import wait_until

GUIDE = Path(__file__).parents[3] / "docs/how-to/web.md"
QUEUES = [{"name": "mail", "depth": 3}]


class Place(NamedTuple):
    """What the servers of a test have in common."""

    folder: Path
    around: dict[str, str]
    script: Script
    certificate: Certificate

    def serve(self, *options: str) -> WebServer:
        more = ["--interval", "1", "--allow-control", "--basic-auth", "ann:right"]
        return WebServer([self.script.url, *options, *more], self.around, self.folder)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("web")
    script = Script(folder / "script.json")
    script.write(queues=QUEUES)
    ours = ("BGTOP_", "BGWORKER_", "XDG_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    around = {**inherited, "HOME": str(folder), **install(folder / "site")}
    return Place(folder, around, script, make_certificate(folder))


def connected(place: Place, port: int) -> closing[http.client.HTTPSConnection]:
    """To the server there, if it has our certificate."""
    trusted = ssl.create_default_context(cafile=str(place.certificate.path))
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=trusted)
    return closing(connection)


def ask(
    place: Place, port: int, method: str, path: str, body: bytes | None = None, **headers: str
) -> Answer:
    """One request by TLS."""
    with connected(place, port) as connection:
        return asked(connection, method, path, body, **headers)


def log_in(place: Place, port: int, prefix: str = "") -> Answer:
    form = urlencode({"name": "ann", "password": "right"}).encode()
    kind = "application/x-www-form-urlencoded"
    origin = f"https://localhost:{port}"
    return ask(place, port, "POST", f"{prefix}/login", form, Origin=origin, Content_Type=kind)


def test_it_speaks_tls_itself(place: Place) -> None:
    """At an address that others can reach, which it would refuse without."""
    certificate = place.certificate
    files = ("--tls-cert", str(certificate.path), "--tls-key", str(certificate.key))
    web = place.serve("--listen", "0.0.0.0:0", *files)
    try:
        assert any("listening on https://0.0.0.0:" in line for line in web.lines)
        assert ask(place, web.port, "GET", "/healthz").body == b"ok\n"
        assert not web.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", 5).startswith(
            b"HTTP/1.1 200"
        )
        said = log_in(place, web.port)
        assert said.status == 303
        assert "; Secure" in said.headers["set-cookie"]
    finally:
        web.close()


class Proxied(NamedTuple):
    """A server at a socket file, and the port of nginx in front of it."""

    web: WebServer
    port: int


@pytest.fixture(scope="module")
def proxied(place: Place) -> Iterator[Proxied]:
    """With the very lines of the guide, but for the place of the socket file."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("no nginx: apt-get install nginx-light")
    socket_file, port = place.folder / "web.sock", free_port()
    [location] = re.findall(
        r"^location /jobs/ \{.*?^\}", GUIDE.read_text(), re.MULTILINE | re.DOTALL
    )
    temporary = "".join(
        f"{kind}_temp_path {place.folder}/{kind};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    settings = place.folder / "nginx.conf"
    settings.write_text(
        f"daemon off; master_process off; pid {place.folder}/nginx.pid;\n"
        f"error_log stderr; events {{}}\nhttp {{\naccess_log off;\n{temporary}"
        f"server {{\nlisten 127.0.0.1:{port} ssl; server_name localhost;\n"
        f"ssl_certificate {place.certificate.path};\n"
        f"ssl_certificate_key {place.certificate.key};\n"
        f"{location.replace('/run/bgtop/web.sock', str(socket_file))}\n}}\n}}\n"
    )
    options = ("--listen", f"unix:{socket_file}", "--url-prefix", "/jobs", "--behind-proxy")
    web = place.serve(*options)
    nginx = subprocess.Popen([found, "-c", str(settings)], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(place, port), why="nginx passes requests on")
        yield Proxied(web, port)
    finally:
        end(nginx)  # type: ignore[arg-type]
        web.close()


def _answers(place: Place, port: int) -> bool:
    try:
        return ask(place, port, "GET", "/jobs/readyz").status == 200
    except OSError:
        return False


def test_what_a_proxy_passes_on_is_seen_as_it_was_sent(place: Place, proxied: Proxied) -> None:
    web, port = proxied
    home = ask(place, port, "GET", "/jobs/")
    assert home.headers["location"].startswith("/jobs/login?next=")
    said = log_in(place, port, "/jobs")
    assert (said.status, said.headers["location"]) == (303, "/jobs/")
    words = said.headers["set-cookie"]
    assert {"Secure", "HttpOnly", "SameSite=strict", "Path=/jobs/"} <= set(words.split("; "))
    cookie = words.partition(";")[0]
    page = ask(place, port, "GET", "/jobs/", Cookie=cookie).body.decode()
    [guard] = re.findall(r'data-guard="([^"]+)"', page)

    def purge(origin: str) -> int:
        headers = {"Cookie": cookie, "X_Bgtop_Guard": guard, "Content_Type": "application/json"}
        body = b'{"verb": "purge", "queue": "mail"}'
        path = "/jobs/api/v1/actions"
        forged = {"X_Forwarded_For": "6.6.6.6", "X_Forwarded_Host": "evil.example"}
        return ask(place, port, "POST", path, body, Origin=origin, **forged, **headers).status

    assert purge("https://evil.example.org") == 403
    assert purge(f"https://localhost:{port}") == 200
    refused, done = web.audited()[-2:]
    assert (refused["outcome"], done["outcome"]) == ("refused", "done")
    assert {line["asked_by"]["from"] for line in (refused, done)} == {"127.0.0.1"}


def test_a_stream_comes_through_as_it_happens(place: Place, proxied: Proxied) -> None:
    said = log_in(place, proxied.port, "/jobs")
    cookie = said.headers["set-cookie"].partition(";")[0]

    def until(event: bytes, words: bytes) -> None:
        for wanted in (event, words):
            while wanted not in (line := stream.readline()):
                assert line, "the stream has ended"

    with connected(place, proxied.port) as connection:
        connection.request("GET", "/jobs/events?page=overview", headers={"Cookie": cookie})
        stream = connection.getresponse()
        assert stream.headers["content-type"].startswith("text/event-stream")
        until(b"event: page", b'"mail"')
        place.script.write(queues=[*QUEUES, {"name": "later", "depth": 1}])
        until(b"event: change", b'"later"')
        stream.close()
    place.script.write(queues=QUEUES)


def test_a_browser_acts_below_the_prefix(proxied: Proxied, browser: Any) -> None:
    page = browser.new_page(ignore_https_errors=True)
    page.set_default_timeout(30_000)
    page.goto(f"https://localhost:{proxied.port}/jobs/")
    page.fill("input[name=name]", "ann")
    page.fill("input[name=password]", "right")
    page.press("input[name=password]", "Enter")
    page.wait_for_selector("#live.on")
    page.get_by_role("button", name="Purge").click()
    page.click("#ask-yes")
    page.wait_for_selector("#notice.s-good")
    page.keyboard.press("6")
    page.wait_for_url("**/jobs/findings")
    page.wait_for_selector("#live.on")
    page.close()
