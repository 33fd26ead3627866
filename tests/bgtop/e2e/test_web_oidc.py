"""Log-in by an OpenID provider: a real one beside a real server, and what must not get in."""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from subprocess import run
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import pytest
from scripted_source import Script, install
from web_desk import Answer, WebServer

from bgtop.testing import wait_until

mock = pytest.importorskip("oidc_provider_mock", reason="pip install oidc-provider-mock")

RETRY = {"verb": "retry", "id": "j1"}
USERS = {
    "ann": {"email": "ann@example.com", "email_verified": True, "groups": ["staff", "ops"]},
    "vic": {"email": "vic@example.com", "email_verified": False, "groups": ["staff"]},
    "eve": {"email": "ann@example.com", "groups": ["guests"]},
    "uma": {},  # her groups are told at the userinfo endpoint only
}
Alter = Callable[[str], str]


class World(NamedTuple):
    """A provider, and a server that believes it."""

    web: WebServer
    issuer: str
    challenges: dict[str, str]

    def set_out(self) -> tuple[str, str]:
        """Where a browser is sent, and the cookie it keeps."""
        said = self.web.get("/login/oidc?next=/tasks")
        assert said.status == 303, said
        words = said.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=lax", "Path=/login"} <= set(words.split("; "))
        return said.headers["location"], words.partition(";")[0]

    def agree(self, address: str, who: str, action: str = "authorize") -> str:
        """Somebody logs in at the provider; the path it sends the browser back to."""
        import requests

        form = {"sub": who, "action": action}
        said = requests.post(address, data=form, allow_redirects=False, timeout=20)
        assert said.status_code == 302, said.text
        back = urlsplit(said.headers["location"])
        return urlunsplit(("", "", back.path, back.query, ""))

    def enter(self, who: str, out: Alter = str, back: Alter = str, **headers: str) -> Answer:
        """The whole way, with the addresses changed on it."""
        address, cookie = self.set_out()
        path = back(self.agree(out(address), who))
        return self.web.get(path, **{"Cookie": cookie, **headers})


def altered(**changes: str) -> Alter:
    """With these parameters in place of those that are there."""

    def alter(address: str) -> str:
        parts = urlsplit(address)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert set(changes) <= set(query)
        return urlunsplit(parts._replace(query=urlencode({**query, **changes})))

    return alter


def provider(challenges: dict[str, str]) -> Any:
    """The provider's application, which also holds clients to PKCE."""
    import flask

    users = [mock.User(sub=sub, claims=claims) for sub, claims in USERS.items()]
    app = mock.app(require_client_registration=True, user_claims=users)

    @app.before_request
    def check_pkce() -> Any:
        given = flask.request.args
        if flask.request.path == "/oauth2/authorize":
            if given.get("code_challenge_method") != "S256":
                return "PKCE is needed", 400
            challenges["latest"] = given["code_challenge"]
        elif flask.request.path == "/oauth2/token":
            hashed = hashlib.sha256(flask.request.form["code_verifier"].encode()).digest()
            if urlsafe_b64encode(hashed).decode().rstrip("=") != challenges["latest"]:
                return {"error": "invalid_grant", "error_description": "wrong verifier"}, 400
        return None

    @app.after_request
    def add_groups(response: Any) -> Any:
        if flask.request.path == "/userinfo" and response.json.get("sub") == "uma":
            response.json["groups"] = ["ops"]
            response.data = flask.json.dumps({**response.json, "groups": ["ops"]})
        return response

    return app


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    from threading import Thread

    import requests
    from werkzeug.serving import make_server

    folder = tmp_path_factory.mktemp("oidc")
    challenges: dict[str, str] = {}
    server = make_server("localhost", 0, provider(challenges), threaded=True)
    thread = Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    issuer = f"http://localhost:{server.server_port}"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    there = {"redirect_uris": [f"http://127.0.0.1:{port}/login/oidc/back"]}
    client = requests.post(f"{issuer}/oauth2/clients", json=there, timeout=20).json()
    secret = folder / "secret"
    secret.write_text(client["client_secret"] + "\n")
    secret.chmod(0o600)
    script = Script(folder / "script.json")
    jobs = [{"id": "j1", "queue": "mail", "state": "failed", "name": "send"}]
    script.write(queues=[{"name": "mail", "depth": 3}], jobs=jobs)
    ours = ("BGTOP_", "BGWORKER_", "XDG_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    options = ["--listen", f"127.0.0.1:{port}", "--interval", "1", "--allow-control"]
    options += ["--oidc-issuer", issuer, "--oidc-client-id", client["client_id"]]
    options += ["--oidc-secret-file", str(secret), "--oidc-claim", "groups"]
    options += ["--oidc-grant", "op?=operator", "--oidc-grant", "staff=viewer,queue=mail"]
    around = {**inherited, "HOME": str(folder), **install(folder / "site")}
    try:
        web = WebServer([script.url, *options], around, folder)
        wait_until(lambda: web.get("/readyz").status == 200, why="the first reading")
        yield World(web, issuer, challenges)
        web.close()
    finally:
        server.shutdown()
        thread.join(5)
        server.server_close()


def session_of(answer: Answer) -> str:
    """The cookie of the session that was begun."""
    assert answer.status == 200, answer
    lines = answer.headers["set-cookie"].splitlines()
    [session] = [line for line in lines if line.startswith("bgtop_session=")]
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(session.split("; "))
    return session.partition(";")[0]


@pytest.mark.parametrize(
    ("who", "name", "role", "queues"),
    [
        ("ann", "ann@example.com", "operator", ["*"]),
        ("vic", "vic@localhost", "viewer", ["mail"]),
        ("uma", "uma@localhost", "operator", ["*"]),
    ],
)
def test_a_claim_gives_a_role(
    world: World, who: str, name: str, role: str, queues: list[str]
) -> None:
    entered = world.enter(who)
    assert b'content="0; url=/tasks"' in entered.body
    cookie = session_of(entered)
    line = world.web.audited()[-1]
    asker = {"name": name, "role": role, "how": "provider", "from": world.web.place}
    assert (line["asked_by"], line["action"]) == (asker, {"verb": "log in"})
    assert (line["outcome"], line["words"]) == ("done", f"vouched for by {world.issuer}")

    me = world.web.get("/api/v1/me", Cookie=cookie).json
    assert (me["name"], me["role"], me["queues"]) == (name, role, queues)
    guard = world.web.guard_of(cookie)
    headers = {"Cookie": cookie, "Origin": world.web.url, "X_Bgtop_Guard": guard}
    assert world.web.act(RETRY, **headers).status == (200 if role == "operator" else 403)
    line = world.web.audited()[-1]
    assert line["asked_by"]["name"] == name
    assert line["outcome"] == ("done" if role == "operator" else "refused")


def test_nothing_is_shown_before(world: World) -> None:
    """A provider is a credential: nobody is a viewer without it."""
    assert world.web.get("/").headers["location"].startswith("/login?next=")
    assert world.web.get("/api/v1/queues").status == 401
    assert b"Log in with localhost" in world.web.get("/login?next=/tasks").body


@pytest.mark.parametrize(
    ("place", "who", "out", "back", "words"),
    [
        ("127.0.0.2", "eve", str, str, "ann@example.com is not known here"),
        ("127.0.0.2", "ann", str, altered(state="forged"), "not one to this log-in (state)"),
        ("127.0.0.2", "ann", altered(nonce="replayed"), str, "nonce"),
        ("127.0.0.3", "ann", str, altered(code="guessed"), "does not hold"),
        ("127.0.0.3", "ann", altered(code_challenge="A" * 43), str, "wrong verifier"),
    ],
)
def test_who_is_refused(
    world: World, place: str, who: str, out: Alter, back: Alter, words: str
) -> None:
    world.web.place = place
    before = len(world.web.audited())
    said = world.enter(who, out, back)

    assert said.status == 403
    assert words in said.body.decode()
    assert "bgtop_session" not in said.headers.get("set-cookie", "")
    [line] = world.web.audited()[before:]
    assert (line["outcome"], words in line["words"]) == ("refused", True)
    assert line["asked_by"]["from"] == place


def test_an_answer_is_for_the_browser_that_set_out_and_for_once(world: World) -> None:
    world.web.place = "127.0.0.9"
    address, cookie = world.set_out()
    path = world.agree(address, "ann")
    assert world.web.get(path).status == 403
    _, others = world.set_out()
    assert world.web.get(path, Cookie=others).status == 403
    assert world.web.get(path, Cookie=cookie).status == 200
    assert world.web.get(path, Cookie=cookie).status == 403, "used once"


def test_log_ins_that_fail_make_a_place_wait_but_none_that_is_under_way(world: World) -> None:
    world.web.place = "127.0.0.10"
    address, genuine = world.set_out()
    trips = [world.set_out() for _ in range(6)]
    for there, cookie in trips:
        said = world.web.get(world.agree(there, "ann", "deny"), Cookie=cookie)
        assert (said.status, b"the provider refused: access_denied" in said.body) == (403, True)

    assert world.web.get("/login/oidc").status == 429, "five in a minute"
    assert world.web.get(world.agree(address, "ann"), Cookie=genuine).status == 200


def test_answers_that_are_forged_keep_nobody_out(world: World) -> None:
    """Anybody may send them, and make a browser send them along with the cookie it has."""
    world.web.place = "127.0.0.11"
    address, cookie = world.set_out()
    path = world.agree(address, "ann")
    forged = altered(state="forged")(path)
    for headers in ({}, {"Cookie": "bgtop_trip=guessed"}, {"Cookie": cookie}):
        for _ in range(25):
            assert world.web.get(forged, **headers).status == 403

    _, others = world.set_out()
    assert world.web.get(path, Cookie=others).status == 403, "the state is of another browser"
    world.web.place = "127.0.0.12"
    world.set_out()
    world.web.place = "127.0.0.11"
    assert world.web.get(path, Cookie=cookie).status == 200


def test_who_begins_many_log_ins_ends_nobody_elses(world: World) -> None:
    """They are kept until they are over, and there is room for so many."""
    from bgtop.web.log_ins import MOST_OF_A_PLACE

    world.web.place = "127.0.0.20"
    others, theirs = world.set_out()
    world.web.place = "127.0.0.21"
    address, first = world.set_out()
    for _ in range(MOST_OF_A_PLACE):
        world.set_out()

    assert world.web.get(world.agree(address, "ann"), Cookie=first).status == 403
    world.web.place = "127.0.0.20"
    assert world.web.get(world.agree(others, "ann"), Cookie=theirs).status == 200


def test_a_browser_goes_all_the_way(world: World, browser: Any) -> None:
    """Over another site: what only our own pages are sent is there when they have led back."""
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{world.web.url}/failures")
    page.click("text=Log in with localhost")
    page.wait_for_url(f"{world.issuer}/**")
    page.fill("input[name=sub]", "ann")
    page.press("input[name=sub]", "Enter")
    page.wait_for_url(f"{world.web.url}/failures")
    page.wait_for_selector("#live.on")
    assert "ann@example.com" in page.inner_text(".who")
    page.close()


def test_only_who_asks_for_it_pays_for_it() -> None:
    """The libraries of a provider are loaded where one is configured."""
    words = "import sys, bgtop.cli.web, bgtop.web.app; print(*sys.modules)"
    loaded = run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout
    assert not {"authlib", "joserfc", "requests"} & set(loaded.split())
