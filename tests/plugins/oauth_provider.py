"""A provider of OAuth 2 without OpenID, as GitHub is one: it runs, and can be made to misbehave.

It holds clients to state, PKCE, their secret and the scopes they asked for; codes are used once.
"""

from __future__ import annotations

import hashlib
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any
from urllib.parse import urlencode

CLIENT, SECRET = "Iv1.bgtop", "s3cret-of-bgtop"
MISBEHAVIOUR: dict[str, Callable[[], Any]] = {
    "garbage": lambda: "<html>\xff not JSON",
    "a list": lambda: "[[1]]",
    "a number": lambda: "7",
    "nothing": lambda: "{}",
    "nobody": lambda: '{"login": null, "id": null, "access_token": null}',
    "deep": lambda: "[" * 200_000,
    "long": lambda: '{"login": "%s"}' % ("x" * 10_000_000),
    "refused": lambda: ("{}", 403),
    "broken": lambda: ("{}", 500),
    "elsewhere": lambda: ("", 302, {"Location": "http://127.0.0.1:9/"}),
}
"""What it may answer in place of what it should."""

Person = dict[str, Any]


class OauthProvider:
    """``people`` by login: ``user``, ``emails`` and ``orgs`` as GitHub answers them."""

    def __init__(self, people: dict[str, Person]) -> None:
        self.people = people
        self.wrong: dict[str, str] = {}
        """By path, which misbehaviour is answered there."""
        self.asked: list[dict[str, str]] = []
        """What browsers came with."""
        self.url = ""
        self._codes: dict[str, dict[str, str]] = {}
        self._tokens: dict[str, dict[str, str]] = {}

    def agree(self, address: str, who: str) -> str:
        """Somebody agrees there; the address their browser is sent back to."""
        import requests

        form = {"who": who}
        said = requests.post(address, data=form, allow_redirects=False, timeout=20)
        assert said.status_code == 302, said.text
        return said.headers["location"]

    def authorize(self) -> Any:
        """The page where somebody agrees."""
        import flask

        asked = flask.request.args.to_dict()
        if asked.get("client_id") != CLIENT or asked.get("code_challenge_method") != "S256":
            return "no such client, or no PKCE", 400
        if flask.request.method == "GET":
            return '<title>Agree</title><form method="post"><input name="who"><button>Go</button>'
        self.asked.append(asked)
        who = flask.request.form["who"]
        if who == "nobody":
            back = {"error": "access_denied", "error_description": "The user denied it"}
        else:
            code = secrets.token_hex(8)
            self._codes[code] = {**asked, "who": who}
            back = {"code": code}
        return flask.redirect(
            f"{asked['redirect_uri']}?{urlencode({**back, 'state': asked['state']})}"
        )

    def token(self) -> Any:
        """A token for a code; errors have the status 200, as GitHub's."""
        import flask

        form, basic = flask.request.form, flask.request.authorization
        shown = (form.get("client_id"), form.get("client_secret"))
        if flask.request.path == "/token":
            shown = (basic.username, basic.password) if basic else (None, None)
        if shown != (CLIENT, SECRET):
            return {"error": "incorrect_client_credentials"}
        asked = self._codes.pop(form["code"], None)
        if asked is None or form["redirect_uri"] != asked["redirect_uri"]:
            words = "The code passed is incorrect or expired."
            return {"error": "bad_verification_code", "error_description": words}
        hashed = urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest())
        if hashed.decode().rstrip("=") != asked["code_challenge"]:
            return {"error": "bad_verification_code", "error_description": "wrong verifier"}
        token = secrets.token_hex(8)
        self._tokens[token] = asked
        return {"access_token": token, "token_type": "bearer", "scope": asked.get("scope", "")}

    def told(self, what: str, scope: str) -> Any:
        """What is told to who shows a token, got with this scope."""
        import flask

        kind, _, token = flask.request.headers.get("Authorization", "").partition(" ")
        asked = self._tokens.get(token, {}) if kind == "Bearer" else {}
        if not asked or scope not in asked.get("scope", ""):
            return {"message": "Bad credentials"}, 401
        return flask.jsonify(self.people[asked["who"]].get(what, []))

    def app(self) -> Any:
        """The application."""
        import flask

        made = flask.Flask(__name__)

        @made.before_request
        def misbehave() -> Any:
            name = self.wrong.get(flask.request.path)
            return MISBEHAVIOUR[name]() if name else None

        both = ["GET", "POST"]
        made.add_url_rule("/login/oauth/authorize", "authorize", self.authorize, methods=both)
        made.add_url_rule("/login/oauth/access_token", "token", self.token, methods=["POST"])
        made.add_url_rule("/token", "basic", self.token, methods=["POST"])
        for path, what, scope in (
            ("/api/v3/user", "user", ""),
            ("/api/v3/user/emails", "emails", "user:email"),
            ("/api/v3/user/orgs", "orgs", "read:org"),
            ("/userinfo", "userinfo", ""),
        ):
            defaults = {"what": what, "scope": scope}
            made.add_url_rule(path, what, self.told, defaults=defaults)
        return made

    @contextmanager
    def running(self) -> Iterator[OauthProvider]:
        """It answers at ``url``."""
        from werkzeug.serving import make_server

        server = make_server("localhost", 0, self.app(), threaded=True)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        self.url = f"http://localhost:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            thread.join(5)
            server.server_close()
