"""What must never happen through the web server, tried against a running one."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from scripted_source import Script, install
from web_desk import WebServer

from bgtop.testing import wait_until
from bgtop.web.credentials import hash_of_password, hash_of_token

Run = Callable[..., subprocess.CompletedProcess[str]]

HOSTILE = "<script>alert(1)</script>"
TOKENS = {"vera": "viewer", "otto": "operator", "adam": "admin", "mia": "admin queue=mail"}
PURGE = {"verb": "purge", "queue": "mail"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def around(folder: Path) -> dict[str, str]:
    """An environment without the user's settings."""
    ours = ("BGTOP_", "BGWORKER_", "XDG_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    home = folder / "home"
    home.mkdir()
    return {**inherited, "HOME": str(home), **install(folder / "site")}


@pytest.fixture(scope="module")
def watched(folder: Path) -> Script:
    script = Script(folder / "script.json")
    jobs = [
        {"id": "j1", "queue": "mail", "state": "failed", "name": HOSTILE},
        {"id": "j2", "queue": "backlog", "state": "failed", "name": "other"},
    ]
    queues = [{"name": name, "depth": 3, "failed": 1} for name in ("mail", "backlog", HOSTILE)]
    worker = {"name": "w1", "beat": 1, "queues": ["mail", "backlog"]}
    answers = {"w1": {"stats": {"pid": 77}}}
    script.write(queues=queues, workers=[worker], jobs=jobs, answers=answers)
    return script


def test_where_it_cannot_listen_is_a_line_and_status_one(run: Run, script: Script) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("web", script.url, "--listen", place)

    words = f"bgtop: --listen {place}: address already in use\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", words)


@pytest.fixture(scope="module")
def web(folder: Path, around: dict[str, str], watched: Script) -> Iterator[WebServer]:
    """A server that may be changed, with four tokens and a password."""
    tokens = folder / "tokens"
    lines = [
        f"{name} {role.split()[0]} {hash_of_token(name)} {' '.join(role.split()[1:])}".strip()
        for name, role in TOKENS.items()
    ]
    tokens.write_text("\n".join(lines) + "\n")
    tokens.chmod(0o600)
    kept = f"ann:{hash_of_password('right')}"
    options = ["--allow-control", "--token-file", str(tokens), "--basic-auth", kept]
    server = WebServer(
        [watched.url, "--listen", "127.0.0.1:0", "--interval", "1", *options], around, folder
    )
    wait_until(lambda: server.get("/readyz").status == 200, why="the first reading")
    yield server
    server.close()


@pytest.fixture
def done(watched: Script) -> Callable[[], list[str]]:
    """What the watched system was asked to do since the test began."""
    path = Path(f"{watched.path}.done")
    path.write_text("")
    return lambda: path.read_text().splitlines()


def bearer(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


def routes() -> list[tuple[str, str]]:
    """Every route of the application with a method that changes something."""
    from starlette.routing import Route

    from bgtop.web.app import app_of
    from bgtop.web.auth import Doors, Gate
    from bgtop.web.credentials import Accounts
    from bgtop.web.site import Site

    site = Site(None, Gate(Accounts(), Doors()), None, control=True)  # type: ignore[arg-type]
    found = [route for route in app_of(site).routes if isinstance(route, Route)]
    assert len(found) > 20
    return [(route.path, method) for route in found for method in route.methods or ()]


def test_no_credential_changes_nothing_by_any_route(
    web: WebServer, done: Callable[[], list[str]]
) -> None:
    before = len(web.audited())
    bodies = [json.dumps(PURGE).encode(), b"verb=purge&queue=mail"]
    methods = ("GET", "POST", "PUT", "PATCH", "DELETE")
    for path, _ in routes():
        for method in methods:
            body = bodies[0] if method != "GET" else None
            address = re.sub(r"\{[^}]+\}", "x", path) + "?verb=purge&queue=mail"
            said = web.request(method, address, body, Content_Type="application/json")
            assert said.status < 500, (method, path, said)
            if path.startswith("/api/v1/") or method not in {"GET", "HEAD"}:
                assert said.status in {303, 400, 401, 403, 404, 405}, (method, path, said)

    assert web.act(PURGE).status == 401
    assert web.form("/api/v1/actions", {"verb": "purge", "queue": "mail"}).status == 401
    assert done() == []
    assert {line["outcome"] for line in web.audited()[before:]} == {"refused"}


def test_nothing_is_shown_without_credentials_but_whether_it_lives(web: WebServer) -> None:
    for path in ("/", "/queue?source=x&name=mail", "/tasks", "/events?page=overview"):
        said = web.get(path)
        assert said.status in {303, 401}
        assert b"mail" not in said.body
    for path in ("snapshot", "queues", "tasks/j1", "openapi.json", "me"):
        assert web.get(f"/api/v1/{path}").status == 401
    assert web.get("/healthz").body == b"ok\n"
    assert web.get("/readyz").status == 200


@pytest.mark.parametrize(
    ("who", "request_", "status"),
    [
        ("vera", PURGE, 403),
        ("vera", {"verb": "retry", "id": "j1"}, 403),
        ("otto", PURGE, 403),
        ("otto", {"verb": "retry", "id": "j1"}, 200),
        ("otto", {"verb": "pause", "queue": "mail"}, 200),
        ("adam", PURGE, 200),
        ("mia", PURGE, 200),
        ("mia", {"verb": "purge", "queue": "backlog"}, 403),
        ("mia", {"verb": "retry", "id": "j2"}, 403),
        ("mia", {"verb": "requeue"}, 403),
        ("vera", {"verb": "grow", "worker": "w1"}, 403),
        ("otto", {"verb": "shutdown", "worker": "w1"}, 403),
        ("mia", {"verb": "shutdown", "worker": "w1"}, 403),
        ("adam", {"verb": "drop-queue", "worker": "w1", "queue": "mail"}, 200),
        ("mia", {"verb": "requeue", "queue": "mail"}, 200),
    ],
)
def test_roles_and_scopes(
    web: WebServer,
    done: Callable[[], list[str]],
    who: str,
    request_: dict[str, str],
    status: int,
) -> None:
    before = len(web.audited())
    said = web.act(request_, **bearer(who))

    assert said.status == status, said
    assert len(done()) == (status == 200)
    [line] = web.audited()[before:]
    assert line["outcome"] == ("done" if status == 200 else "refused")
    assert line["action"]["verb"] == request_["verb"]
    assert line["asked_by"] == {
        "name": who,
        "role": TOKENS[who].split()[0],
        "how": "token",
        "from": "127.0.0.1",
    }


def test_a_scope_hides_what_it_does_not_cover(web: WebServer) -> None:
    told = web.get("/api/v1/snapshot", **bearer("mia")).json
    assert [queue["name"] for queue in told["queues"]] == ["mail"]
    assert [worker["queues"] for worker in told["workers"]] == [["mail"]]
    assert [job["id"] for job in web.get("/api/v1/tasks", **bearer("mia")).json["tasks"]] == ["j1"]
    assert web.get("/api/v1/tasks/j2", **bearer("mia")).status == 404
    assert b"backlog" not in web.get("/", **bearer("mia")).body


def test_who_may_see_some_queues_does_not_hear_workers(web: WebServer, watched: Script) -> None:
    asked = Path(f"{watched.path}.asked")
    path, page = "/api/v1/inspect?worker=w1", "/worker?source=script.json&name=w1&ask=1"
    assert web.get(path, **bearer("mia")).status == 403
    assert b"not permitted" in web.get(page, **bearer("mia")).body
    assert web.get("/api/v1/inspect?worker=nobody", **bearer("adam")).status == 404
    for elsewhere in ({"Sec_Fetch_Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert web.get(path, **bearer("adam"), **elsewhere).status == 403
    assert b"only asked when" in web.get(page, **bearer("adam"), Sec_Fetch_Site="cross-site").body
    assert not asked.exists(), "nobody's messages were sent"

    [told] = web.get(path, **bearer("vera")).json["workers"]
    assert (told["name"], told["status"], told["pid"]) == ("w1", "online", 77)
    for _ in range(5):
        assert b"Process id" in web.get(page, **bearer("vera")).body
    assert len(asked.read_text().splitlines()) <= 3, "equal questions are one within a second"


def test_a_question_changes_nothing(web: WebServer, done: Callable[[], list[str]]) -> None:
    said = web.act({**PURGE, "dry_run": True}, **bearer("adam"))

    assert (
        said.json["question"] == "purge queue mail with 3 waiting jobs on script.json (scripted)?"
    )
    assert done() == []


def test_a_session_needs_its_word_and_our_origin(
    web: WebServer, done: Callable[[], list[str]]
) -> None:
    cookie = web.log_in("ann", "right")
    good = {"Cookie": cookie, "Origin": web.url, "X_Bgtop_Guard": web.guard_of(cookie)}

    for broken in (
        {"X_Bgtop_Guard": ""},
        {"X_Bgtop_Guard": "wrong"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": f"http://127.0.0.1:{web.port}.evil.example"},
        {"Sec_Fetch_Site": "cross-site"},
    ):
        headers = {name: value for name, value in {**good, **broken}.items() if value}
        assert web.act(PURGE, **headers).status == 403, broken
    assert done() == []
    assert web.act(PURGE, **good).status == 200
    assert len(done()) == 1


@pytest.mark.parametrize("kind", ["token", "password"])
def test_no_credential_helps_another_site(
    web: WebServer, done: Callable[[], list[str]], kind: str
) -> None:
    basic = base64.b64encode(b"ann:right").decode()
    secret = {"token": "Bearer adam", "password": f"Basic {basic}"}[kind]

    assert web.act(PURGE, Authorization=secret, Origin="https://evil.example").status == 403
    assert web.act(PURGE, Authorization=secret, Sec_Fetch_Site="same-site").status == 403
    assert done() == []
    assert web.act(PURGE, Authorization=secret).status == 200
    form = {"verb": "purge", "queue": "mail"}
    assert web.form("/api/v1/actions", form, Authorization=secret).status == 415


def test_a_log_in_makes_a_session_nobody_has_known(web: WebServer) -> None:
    planted = "bgtop_session=planted"
    fields = {"name": "ann", "password": "right", "next": "/tasks"}
    said = web.form("/login", fields, Cookie=planted)
    words = said.headers["set-cookie"]

    assert (said.status, said.headers["location"]) == (303, "/tasks")
    assert "planted" not in words
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(words.split("; "))
    assert web.get("/api/v1/me", Cookie=planted).status == 401
    first, second = words.partition(";")[0], web.log_in("ann", "right")
    assert first != second

    assert web.form("/logout", {"guard": "wrong"}, Cookie=first).status == 403
    assert web.get("/api/v1/me", Cookie=first).status == 200
    assert web.form("/logout", {"guard": web.guard_of(first)}, Cookie=first).status == 303
    assert web.get("/api/v1/me", Cookie=first).status == 401
    assert web.get("/api/v1/me", Cookie=second).status == 200


@pytest.mark.parametrize(
    "after", ["https://evil.example", "//evil.example", "/\\evil.example", "/a\r\nX-Bad: 1", ""]
)
def test_a_log_in_leads_nowhere_else(web: WebServer, after: str) -> None:
    said = web.form("/login", {"name": "ann", "password": "right", "next": after})

    assert said.headers["location"] == "/"
    assert "x-bad" not in said.headers


@pytest.mark.parametrize(
    ("fields", "who"),
    [
        ({"name": "ann", "password": "right"}, {"name": "ann", "role": "admin", "how": "password"}),
        ({"token": "otto"}, {"name": "otto", "role": "operator", "how": "token"}),
    ],
)
def test_a_log_in_is_written_down(
    web: WebServer, fields: dict[str, str], who: dict[str, str]
) -> None:
    before = len(web.audited())
    assert web.form("/login", fields).status == 303

    [line] = web.audited()[before:]
    assert line["asked_by"] == {**who, "from": web.place}
    assert (line["action"], line["outcome"]) == ({"verb": "log in"}, "done")
    words = f"{who['name']} ({who['role']}) logged in by {who['how']} from {web.place}"
    wait_until(lambda: any(words in told for told in web.lines), why="the server's own log")


def test_a_log_in_from_another_page_is_refused(web: WebServer) -> None:
    fields = {"name": "ann", "password": "right"}
    assert web.form("/login", fields, Origin="https://evil.example").status == 403
    assert web.form("/login", fields, Origin="").status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/etc/passwd",
        "/static/..%5capp.py",
        "/static//etc/passwd",
        "/static/app.css%00.py",
        "/../../etc/passwd",
    ],
)
def test_no_path_leads_out(web: WebServer, path: str) -> None:
    said = web.get(path, **bearer("adam"))

    assert said.status == 404
    assert b"root:" not in said.body
    assert b"import" not in said.body


def test_large_requests_are_not_read(web: WebServer) -> None:
    ten = b"x" * (10 << 20)
    head = b"POST /api/v1/actions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer adam\r\n"
    declared = head + b"Content-Length: %d\r\n\r\n" % len(ten)
    assert web.raw(declared + ten[:1000], 10).startswith(b"HTTP/1.1 413")
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2
    assert web.raw(chunked, 10).startswith(b"HTTP/1.1 413")
    for size, status in ((40_000, b"431"), (200_000, b"400")):
        long = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * size + b"\r\n\r\n"
        assert web.raw(long, 2).startswith(b"HTTP/1.1 " + status)
    many = b"".join(b"X-%d: 1\r\n" % n for n in range(200))
    assert web.raw(b"GET / HTTP/1.1\r\nHost: localhost\r\n" + many + b"\r\n", 2).startswith(
        b"HTTP/1.1 431"
    )
    assert web.get("/" + "a" * 9000).status == 400
    assert web.get("/healthz").status == 200


def test_no_name_but_ours_is_answered(web: WebServer) -> None:
    """A page whose name suddenly means our address must not be read by its scripts."""
    assert web.get("/healthz", Host="evil.example").status == 421
    assert web.get("/healthz", Host=f"localhost:{web.port}").status == 200
    two = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert web.raw(two, 2).startswith(b"HTTP/1.1 400")


def test_every_answer_says_what_browsers_may_do_with_it(web: WebServer) -> None:
    for path in ("/", "/login", "/static/app.js", "/api/v1/queues", "/nowhere", "/healthz"):
        said = web.get(path, **bearer("adam"))
        policy = said.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert said.headers["x-content-type-options"] == "nosniff"
        assert said.headers["x-frame-options"] == "DENY"
        assert "access-control-allow-origin" not in said.headers
        assert "server" not in said.headers


def test_names_are_text_in_every_page(web: WebServer) -> None:
    for path in ("/", "/failures", "/tasks", "/job?source=script.json&id=j1"):
        page = web.get(path, **bearer("adam")).body.decode()
        assert HOSTILE not in page
        assert " style=" not in page
        assert not re.search(r"<script(?! src=)", page)
        assert " on" not in "".join(re.findall(r"<(?:img|svg|a|tr|td)[^>]*>", page))
    assert "&lt;script&gt;" in page


def test_slow_clients_are_hung_up_on(web: WebServer) -> None:
    """Half a header and half a body: both connections end, and others are answered meanwhile."""
    began = time.monotonic()
    with (
        socket.create_connection(("127.0.0.1", web.port), timeout=30) as header,
        socket.create_connection(("127.0.0.1", web.port), timeout=30) as body,
    ):
        header.sendall(b"GET / HTTP/1.1\r\nHost: loc")
        body.sendall(
            b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nname=a"
        )
        assert web.get("/healthz").status == 200
        assert body.recv(1000).startswith(b"HTTP/1.1 408")
        with suppress(ConnectionResetError):
            assert header.recv(1000) == b""
    assert 5 < time.monotonic() - began < 25


def test_patterns_that_never_end_are_refused(web: WebServer) -> None:
    began = time.monotonic()
    for pattern in ("(a+)+$", "(a|a)*b", "a*a*a*a*b", "args:(x+x+)+y", "(?=a)", r"(a)\1"):
        said = web.get(f"/api/v1/queues?filter={pattern.replace('+', '%2B')}", **bearer("adam"))
        assert said.status == 400, pattern
    assert time.monotonic() - began < 10


def test_log_ins_are_limited(folder: Path, around: dict[str, str], watched: Script) -> None:
    """On a server of its own: whoever is locked out stays so for a while."""
    server = WebServer(
        [watched.url, "--listen", "127.0.0.1:0", "--basic-auth", "ann:right"], around, folder
    )
    try:
        wrong = [server.form("/login", {"name": "ann", "password": "x"}).status for _ in range(7)]
        assert wrong == [401] * 5 + [429] * 2
        said = server.form("/login", {"name": "ann", "password": "right"})
        assert said.status == 429
        assert 0 < int(said.headers["retry-after"]) <= 61
        assert server.get("/healthz").status == 200
    finally:
        server.close()


def test_a_password_in_use_is_not_easier_to_guess(
    folder: Path, around: dict[str, str], watched: Script
) -> None:
    """It is remembered where it was right, and a place that is locked out is not told so."""
    server = WebServer(
        [watched.url, "--listen", "127.0.0.1:0", "--basic-auth", "ann:right"], around, folder
    )

    def status_from(place: str, password: str) -> int:
        server.place = place
        secret = base64.b64encode(f"ann:{password}".encode()).decode()
        return server.get("/api/v1/me", Authorization=f"Basic {secret}").status

    def fail_at(place: str) -> None:
        assert [status_from(place, f"guess {n}") for n in range(5)] == [401] * 5

    try:
        assert status_from("127.0.0.1", "right") == 200
        fail_at("127.0.0.9")
        assert status_from("127.0.0.9", "right") == 429
        assert status_from("127.0.0.1", "right") == 200
        fail_at("127.0.0.1")
        assert status_from("127.0.0.1", "right") == 429
    finally:
        server.close()


def test_passwords_are_not_guessed_all_at_once(
    folder: Path, around: dict[str, str], watched: Script
) -> None:
    """Those that wait for their turn are no exception: by then the others have failed."""
    kept = f"ann:{hash_of_password('right')}"
    server = WebServer(
        [watched.url, "--listen", "127.0.0.1:0", "--basic-auth", kept], around, folder
    )
    try:
        with ThreadPoolExecutor(30) as crowd:
            guesses = [{"name": "ann", "password": f"guess {n}"} for n in range(30)]
            said = [answer.status for answer in crowd.map(partial(server.form, "/login"), guesses)]
        # Two are looked at at a time: one more may be when the fifth has failed.
        assert said.count(401) in {5, 6}
        assert said.count(429) == len(said) - said.count(401)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--listen", "0.0.0.0:0"], "needs credentials"),
        (["--listen", "0.0.0.0:0", "--basic-auth", "a:b"], "needs TLS"),
        (["--listen", "nowhere"], "expected HOST:PORT or unix:PATH"),
        (["--allow-control"], "--allow-control needs credentials"),
        (["--basic-auth", "nobody"], "expected USER:PASSWORD"),
        (["--basic-auth", "a:b", "--grant", "c=admin"], "no --basic-auth has the name"),
        (["--basic-auth", "a:b", "--grant", "a=king"], "is no role"),
        (["--url-prefix", "/a b"], "--url-prefix"),
        (["--tls-cert", "x"], "go together"),
        (["--token-file", "nowhere"], "no such file"),
    ],
)
def test_what_is_not_safe_does_not_start(
    call: Run, script: Script, options: list[str], words: str
) -> None:
    ended = call("web", script.url, *options)

    assert ended.returncode == 2
    assert words in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_file_of_tokens_is_its_owners_alone(run: Run, script: Script, tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    made = run("web", "--token-file", str(path), "--add-token", "bob=operator,queue=mail*")
    token = made.stdout.strip()

    assert token.startswith("bgt_")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert token not in path.read_text()
    assert path.read_text().split()[:2] == ["bob", "operator"]
    path.chmod(0o640)
    ended = run("web", script.url, "--token-file", str(path))
    assert (ended.returncode, "others may read it" in ended.stderr) == (2, True)


def test_a_plain_secret_in_the_file_is_not_repeated(
    run: Run, script: Script, tmp_path: Path
) -> None:
    path = tmp_path / "tokens"
    path.write_text("bob admin S3CRET\n")
    path.chmod(0o600)
    ended = run("web", script.url, "--token-file", str(path))

    assert ended.returncode == 2
    assert "S3CRET" not in ended.stderr


def test_read_only_even_for_an_admin(
    folder: Path, around: dict[str, str], watched: Script, done: Callable[[], list[str]]
) -> None:
    """Without --allow-control nobody changes anything; over a socket file, below a prefix."""
    path = folder / "web.sock"
    options = ["--listen", f"unix:{path}", "--url-prefix", "/jobs/", "--basic-auth", "ann:right"]
    server = WebServer([watched.url, *options], around, folder)
    try:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        basic = f"Basic {base64.b64encode(b'ann:right').decode()}"
        assert server.get("/jobs/healthz").status == 200
        page = server.get("/jobs/", Authorization=basic)
        assert b'href="/jobs/static/app.css' in page.body
        assert server.get("/", Authorization=basic).status == 404
        said: Any = server.act(PURGE, "/jobs/api/v1/actions", Authorization=basic)
        assert (said.status, "read-only" in said.json["detail"]) == (403, True)
        assert done() == []
        assert server.audited()[-1]["words"] == said.json["detail"]
    finally:
        server.close()
    assert not path.exists()
