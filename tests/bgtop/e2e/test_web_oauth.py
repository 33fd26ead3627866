"""Log-in by a provider as GitHub is one: the server, the provider and a browser, all of it real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from oauth_provider import CLIENT, SECRET, OauthProvider
from scripted_source import Script, install
from web_desk import Answer, WebServer

from bgtop.testing import wait_until

pytest.importorskip("authlib", reason="pip install 'bgtop[oidc]'")

PEOPLE = {
    "ann": {"user": {"login": "ann", "id": 7}, "orgs": [{"login": "acme"}, {"login": "ops"}]},
    "vic": {"user": {"login": "vic", "id": 8}, "orgs": [{"login": "acme"}]},
    "eve": {"user": {"login": "ann\u202e", "id": 9}, "orgs": [{"login": "acme-ops"}]},
}


class World(NamedTuple):
    """A provider, and a server that believes it."""

    web: WebServer
    provider: OauthProvider

    def enter(self, who: str, **changes: str) -> Answer:
        """The whole way of somebody; a state or code may be another's."""
        out = self.web.get("/login/oauth?next=/tasks")
        assert out.status == 303, out
        cookie = out.headers["set-cookie"].partition(";")[0]
        back = urlsplit(self.provider.agree(out.headers["location"], who))
        query = dict(pair.split("=") for pair in back.query.split("&"))
        said = "&".join(f"{name}={value}" for name, value in {**query, **changes}.items())
        return self.web.get(f"{back.path}?{said}", Cookie=cookie)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("oauth")
    script = Script(folder / "script.json")
    script.write(queues=[{"name": "mail", "depth": 3}])
    ours = ("BGTOP_", "BGWORKER_", "XDG_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    around = {**inherited, "HOME": str(folder), **install(folder / "site")}
    with OauthProvider(PEOPLE).running() as provider:
        options = ["--listen", "127.0.0.1:0", "--interval", "1", "--allow-control"]
        options += ["--oauth-provider", f"github={provider.url}", "--oauth-client-id", CLIENT]
        options += ["--oauth-claim", "org", "--oauth-grant", "ops=admin"]
        options += ["--oauth-grant", "acme=viewer,queue=mail"]
        around["BGTOP_WEB_OAUTH_SECRET"] = SECRET
        web = WebServer([script.url, *options], around, Path(folder))
        try:
            wait_until(lambda: web.get("/readyz").status == 200, why="the first reading")
            yield World(web, provider)
        finally:
            web.close()


@pytest.mark.parametrize(("who", "role", "status"), [("ann", "admin", 200), ("vic", "viewer", 403)])
def test_an_organisation_gives_a_role(world: World, who: str, role: str, status: int) -> None:
    entered = world.enter(who)
    assert entered.status == 200, entered
    assert b'content="0; url=/tasks"' in entered.body
    [session] = [
        line.partition(";")[0]
        for line in entered.headers["set-cookie"].splitlines()
        if line.startswith("bgtop_session=")
    ]
    line = world.web.audited()[-1]
    asker = {"name": f"{who}@localhost", "role": role, "how": "provider", "from": "127.0.0.1"}
    assert (line["asked_by"], line["action"]) == (asker, {"verb": "log in"})
    assert line["words"] == f"vouched for by {world.provider.url}"
    guard = world.web.guard_of(session)
    headers = {"Cookie": session, "Origin": world.web.url, "X_Bgtop_Guard": guard}
    assert world.web.act({"verb": "purge", "queue": "mail"}, **headers).status == status


def test_who_is_refused_is_written_down_and_waits(world: World) -> None:
    world.web.place = "127.0.0.5"
    before = len(world.web.audited())
    said = world.enter("eve")
    assert (said.status, "bgtop_session" in said.headers.get("set-cookie", "")) == (403, False)
    assert rb"ann\u202e is not known here: no --oauth-grant is about them" in said.body
    assert world.enter("ann", state="forged").status == 403
    assert world.enter("ann", code="guessed").status == 403
    assert world.enter("nobody").status == 403
    lines = world.web.audited()[before:]
    assert [line["outcome"] for line in lines] == ["refused"] * 4
    assert {line["asked_by"]["from"] for line in lines} == {"127.0.0.5"}
    for _ in range(2):
        assert world.enter("eve").status == 403
    assert world.web.get("/login/oauth").status == 429, "five in a minute"
    world.web.place = "127.0.0.1"


def test_a_provider_that_talks_nonsense_lets_nobody_in_and_is_not_held_against_them(
    world: World,
) -> None:
    world.web.place = "127.0.0.6"
    world.provider.wrong["/api/v3/user"] = "long"
    for _ in range(6):
        said = world.enter("ann")
        assert said.status == 502
        assert b"the provider gave no answer that is one" in said.body
    world.provider.wrong.clear()
    assert world.enter("ann").status == 200
    assert world.web.get("/login/oidc").status == 404
    world.web.place = "127.0.0.1"


def test_a_browser_goes_all_the_way(world: World, browser: Any) -> None:
    page = browser.new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{world.web.url}/failures")
    page.click("text=Log in with localhost")
    page.wait_for_url(f"{world.provider.url}/**")
    page.fill("input[name=who]", "ann")
    page.press("input[name=who]", "Enter")
    page.wait_for_url(f"{world.web.url}/failures")
    page.wait_for_selector("#live.on")
    assert "ann@localhost" in page.inner_text(".who")
    page.close()
