"""The pages in Debian's Chromium: a real queue, a real server, a real browser."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from celery_desk import PREFORK, lives
from scripted_source import Script, install
from web_desk import WebServer

from bgtop.testing import wait_until
from bgtop.web.credentials import hash_of_password
from bgworker import BgWorker
from bgworker.inline import run_until_idle

playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")

HOSTILE = "<img src=x onerror=alert(1)>\u202e"
SHAPES = [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]

ANSWERS = {
    "stats": {
        "pid": 77,
        "pool": {"implementation": HOSTILE, "processes": [78, 79], "timeouts": [0, 90]},
        "rusage": {"utime": 1.5, "stime": 0.25, "maxrss": 50_000, "nvcsw": 7},
        "total": {"mail.send": 12},
    },
    "active_queues": [{"name": "mail", "routing_key": "m", "exchange": {"name": "x"}}],
    "registered": ["mail.send [rate_limit=5/m]", HOSTILE],
    "active": [{"id": "j1", "name": "mail.send", "args": [1], "time_start": 1.0e9}],
    "revoked": [],
    "conf": {"broker_url": "redis://:S3CRET@h/0", "worker_prefetch_multiplier": 1},
}

# The browser is slow to come on a busy machine.


class Jobs:
    """A queue in a file, and what happens in it."""

    def __init__(self, path: Path) -> None:
        self.url = f"sqlite:///{path}"
        self.app = BgWorker(self.url)

        @self.app.task(name="mail.send", queue="mail")
        def send(to: str, password: str = "") -> None:
            raise ValueError(f"no such user: {to} password={password}")

        @self.app.task(name=HOSTILE, queue="<b>bold</b>")
        def hostile(text: str) -> None:
            raise ValueError("</td><script>alert(1)</script>")

        self.send, self.hostile = send, hostile


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jobs]:
    jobs = Jobs(tmp_path_factory.mktemp("jobs") / "jobs.db")
    jobs.hostile.delay("</td>")
    run_until_idle(jobs.app)
    for number in range(30):
        jobs.send.delay(f"user{number}", password="S3CRET")
    jobs.send.options(queue="bulk").delay("all")
    yield jobs
    jobs.app.close()


@pytest.fixture(scope="module")
def web(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("web")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("BGTOP_", "XDG_"))}
    around = {**inherited, "HOME": str(folder), **install(folder / "site")}
    users = [f"{name}:{hash_of_password('right')}" for name in ("ann", "vera")]
    options = [word for user in users for word in ("--basic-auth", user)]
    script = Script(folder / "script.json")
    script.write(workers=[{"name": "w1", "beat": 1}], answers={"w1": ANSWERS})
    server = WebServer(
        [
            *(
                jobs.url,
                script.url,
                "--listen",
                "127.0.0.1:0",
                "--interval",
                "1",
                "--allow-control",
            ),
            *(*options, "--grant", "vera=viewer"),
        ],
        around,
        folder,
    )
    yield server
    server.close()


class Visitor:
    """Somebody who has logged in, and everything the console of the browser said."""

    def __init__(self, browser: Any, web: WebServer, name: str) -> None:
        self.name = name
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.shape(*SHAPES[0])
        self.page.set_default_timeout(30_000)
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda fault: self.said.append(str(fault)))
        self.page.on("dialog", lambda dialog: self.said.append("ALERT") or dialog.dismiss())
        self.web = web
        self.page.goto(web.url)
        self.page.fill("input[name=name]", name)
        self.page.fill("input[name=password]", "right")
        self.page.press("input[name=password]", "Enter")
        self.live()

    def go(self, path: str) -> Any:
        self.page.goto(f"{self.web.url}/{path}")
        self.live()
        return self.page

    def shape(self, scheme: str, wide: int) -> None:
        """Colours and width from now on; none of them comes by and by."""
        self.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        self.page.set_viewport_size({"width": wide, "height": 844})

    def live(self) -> None:
        """The stream is open and was heard."""
        self.page.wait_for_selector("#live.on")
        self.page.wait_for_selector("#facts dd")

    def row(self, text: str) -> Any:
        return self.page.locator("tbody tr", has_text=text)


@pytest.fixture(scope="module")
def logged_in(browser: Any, web: WebServer) -> Iterator[dict[str, Visitor]]:
    """Who has logged in at :func:`web`, by name; a new one costs more than what it looks at."""
    visitors: dict[str, Visitor] = {}
    yield visitors
    for visitor in visitors.values():
        visitor.context.close()


@pytest.fixture
def visit(browser: Any, web: WebServer, logged_in: dict[str, Visitor]) -> Iterator[Any]:
    visitors: list[Visitor] = []

    def visit(name: str = "ann", at: WebServer = web) -> Visitor:
        visitor = logged_in.get(name) if at is web else None
        if visitor is None:
            visitor = Visitor(browser, at, name)
        else:
            visitor.shape(*SHAPES[0])
            visitor.go("")
        visitors.append(visitor)
        return visitor

    yield visit
    said = [line for visitor in visitors for line in visitor.said]
    for visitor in visitors:
        visitor.said.clear()
        if visitor.web is web:
            logged_in[visitor.name] = visitor
        else:
            visitor.context.close()
    # What is refused is also told by the browser itself.
    assert [line for line in said if "status of 40" not in line] == []


def test_the_page_follows_the_queue(visit: Any, jobs: Jobs) -> None:
    """Within one refresh, without loading the page again."""
    visitor = visit()
    page = visitor.page
    playwright.expect(visitor.row("bulk").locator("[data-column=depth]")).to_have_text("1")
    page.evaluate("window.stillTheSame = true")

    jobs.send.options(queue="bulk").delay("more")
    jobs.send.options(queue="fresh").delay("more")

    playwright.expect(visitor.row("bulk").locator("[data-column=depth]")).to_have_text("2")
    playwright.expect(visitor.row("fresh")).to_have_count(1)
    assert page.evaluate("window.stillTheSame")


def test_a_chart_of_one_job_is_not_of_one_jobs(visit: Any) -> None:
    said = """(values) => window.bgtopCharts.figure({label: "Running", unit: "jobs", values})
        .textContent"""
    page = visit().page
    assert page.evaluate(said, [0, 1]) == "Running, most 1 job1 job"
    assert page.evaluate(said, [2, 0]) == "Running, most 2 jobs0 jobs"


def test_filter_sort_and_drill_down_by_keys(visit: Any) -> None:
    visitor = visit()
    page = visitor.page
    page.keyboard.press("/")
    page.keyboard.type("depth>5")
    queues = page.locator("section[data-table=queues] tbody tr")
    playwright.expect(queues).to_have_count(1)
    assert "f-queues=depth" in page.url
    page.keyboard.press("Enter")  # leaves the field
    page.keyboard.press("j")
    page.keyboard.press("Enter")

    page.wait_for_url("**/queue?**name=mail")
    visitor.live()
    page.click("th[data-column=id] button")
    playwright.expect(page.locator("th[data-column=id]")).to_have_attribute(
        "aria-sort", "descending"
    )
    page.locator("section[data-table=jobs] tbody tr a").first.click()
    page.wait_for_url("**/job?**")
    visitor.live()
    playwright.expect(page.locator("main")).to_contain_text("mail.send")
    assert "S3CRET" not in page.content()

    page.keyboard.press("3")
    page.wait_for_url("**/schedules")
    page.keyboard.press("?")
    playwright.expect(page.locator("#help")).to_be_visible()


def test_a_filter_that_is_none_is_explained(visit: Any) -> None:
    page = visit().go("?f-queues=(a%2B)%2B")
    playwright.expect(page.locator("[data-table=queues] .fault")).to_contain_text("repeat")


def test_an_action_asks_first(visit: Any, jobs: Jobs, web: WebServer) -> None:
    jobs.send.options(queue="todo").delay("a")
    visitor = visit()
    row = visitor.row("todo")
    row.get_by_role("button", name="Purge").click()
    question = visitor.page.locator("#ask-words")
    playwright.expect(question).to_contain_text("queue todo with 1 waiting job on jobs.db")
    visitor.page.click("#ask-no")
    playwright.expect(visitor.page.locator("#ask")).to_be_hidden()
    playwright.expect(row.locator("[data-column=depth]")).to_have_text("1")

    row.get_by_role("button", name="Purge").click()
    visitor.page.click("#ask-yes")
    playwright.expect(visitor.page.locator("#notice")).to_contain_text("purged 1 job: queue todo")
    playwright.expect(row.locator("[data-column=depth]")).to_have_text("0")
    assert web.audited()[-1]["asked_by"]["name"] == "ann"


def test_several_rows_are_acted_on_at_once(visit: Any, jobs: Jobs, web: WebServer) -> None:
    ids = [jobs.send.options(queue="many").delay(f"m{number}").id for number in range(6)]
    visitor = visit()
    page = visitor.go("queue?source=jobs.db&name=many")
    rows, bar = page.locator("[data-table=jobs] tbody tr"), page.locator("#marked")
    playwright.expect(rows).to_have_count(6)
    playwright.expect(bar).to_be_hidden()
    for key in ("j", "*", " ", " "):  # all but the first two
        page.keyboard.press(key)
    playwright.expect(bar).to_contain_text("4 marked")
    links = [rows.nth(at).locator("a").get_attribute("href") for at in (0, 1)]
    playwright.expect(page.locator("tr.marked")).to_have_count(4)
    before = len(web.audited())

    bar.get_by_role("button", name="Cancel").click()
    playwright.expect(page.locator("#ask-words")).to_have_text("Cancel: 4 rows?")
    playwright.expect(page.locator("#ask-more")).to_contain_text("And 1 more.")
    page.click("#ask-yes")
    playwright.expect(page.locator("#notice")).to_have_text("4 of 4 done")
    playwright.expect(page.locator("tr.marked")).to_have_count(0)
    playwright.expect(bar).to_be_hidden()

    done = [line["action"] for line in web.audited()[before:]]
    assert [action["verb"] for action in done] == ["cancel"] * 4
    left = {str(id_) for id_ in ids} - {action["id"] for action in done}
    assert {parse_qs(urlsplit(link).query)["id"][0] for link in links} == left
    assert visitor.said == []


def test_a_row_that_is_shown_no_longer_is_marked_no_longer(visit: Any, jobs: Jobs) -> None:
    for queue in ("apples", "pears"):
        jobs.send.options(queue=queue).delay("a")
    visitor = visit()
    for queue in ("pears", "apples"):
        visitor.row(queue).locator("td").nth(2).click(modifiers=["Control"])
    bar = visitor.page.locator("#marked")
    playwright.expect(bar).to_contain_text("2 marked")
    visitor.page.fill("[data-table=queues] input[type=search]", "^apples")
    playwright.expect(bar).to_contain_text("1 marked")
    bar.get_by_role("button", name="Unmark").click()
    playwright.expect(bar).to_be_hidden()


def test_a_viewer_is_refused(visit: Any) -> None:
    """No button is offered, and what is sent all the same is refused by the server."""
    page = visit("vera").page
    assert page.get_by_role("button", name="Purge").count() == 0
    status = page.evaluate(
        """async () => {
            const guard = document.querySelector("main").dataset.guard;
            const headers = {"Content-Type": "application/json", "X-Bgtop-Guard": guard};
            const body = JSON.stringify({verb: "purge", queue: "mail"});
            return (await fetch("/api/v1/actions", {method: "POST", headers, body})).status;
        }"""
    )
    assert status == 403


def test_what_a_system_cannot_do_is_refused_with_the_reason(web: WebServer) -> None:
    basic = f"Basic {base64.b64encode(b'ann:right').decode()}"
    grow = {"verb": "grow", "worker": "nobody", "source": "jobs.db"}
    assert web.act({**grow, "dry_run": True}, Authorization=basic).json["able"] is False
    said = web.act(grow, Authorization=basic)
    assert said.status == 422
    assert "bgworker" in said.json["detail"]
    line = web.audited()[-1]
    assert (line["outcome"], line["action"]["verb"]) == ("refused", "grow")
    page = web.get("/worker?source=jobs.db&name=nobody", Authorization=basic).body
    assert b"it is not there at the moment" in page


def test_names_are_shown_as_text(visit: Any) -> None:
    visitor = visit()
    for path in ("", "failures", "tasks"):
        page = visitor.go(path)
        assert page.locator("main b:text-is('bold'), main img, main script").count() == 0
    playwright.expect(visitor.go("").locator("main")).to_contain_text("<b>bold</b>")
    page = visitor.go("failures")
    visitor.row("alert(1)").locator("a").first.click()
    page.wait_for_url("**/job?**")
    visitor.live()
    playwright.expect(page.locator("main")).to_contain_text("</td><script>alert(1)</script>")
    playwright.expect(page.locator("main")).to_contain_text("\\u202e")


def test_a_worker_is_asked_when_somebody_wants_to_know(visit: Any, web: WebServer) -> None:
    """A viewer as well, who is offered no control; looking at the page asks nobody."""
    asked = web.audit.parents[2] / "script.json.asked"
    asked.unlink(missing_ok=True)
    visitor = visit("vera")
    page = visitor.go("worker?source=script.json&name=w1")
    told = page.locator("#told")
    playwright.expect(told).to_contain_text("only asked when somebody wants to know")
    assert not asked.exists()

    page.keyboard.press("i")
    playwright.expect(told.locator("summary").first).to_have_text("Pool")
    playwright.expect(told).to_contain_text("78, 79")
    playwright.expect(told).to_contain_text("2001-09-09T01:46:40Z")
    playwright.expect(told.locator("tr", has_text="mail.send [rate_limit")).to_contain_text("12")
    playwright.expect(told.locator("details", has_text="Reserved")).to_contain_text("not tell")
    assert "S3CRET" not in page.content()
    assert told.locator("img").count() == 0
    assert page.locator("#deeds button").count() == 0
    assert asked.read_text() == "['w1']\n"


def test_a_worker_is_steered(
    visit: Any, redis_server: Any, make_celery: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    """By keys, at a real worker: what it is told is asked first, done, and written down."""
    celery = make_celery(redis_server.url)
    node = celery.start_worker("w1", "mail", pool=PREFORK)
    pid = celery.pid(node)
    options = ["--listen", "127.0.0.1:0", "--interval", "1", "--allow-control"]
    url = f"celery+{redis_server.url}"
    server = WebServer([url, *options, "--basic-auth", "ann:right"], environment, tmp_path)
    try:
        page = visit("ann", at=server).page
        page.locator("section[data-table=workers] tbody a", has_text=node).click()
        page.wait_for_url("**/worker?**")
        page.keyboard.press("i")
        processes = page.locator("#told tr", has_text="Process ids").locator("td")
        before = processes.inner_text()

        deed(page, "Grow pool…", "Grow the pool of worker w1@test by 1 on")
        wait_until(lambda: lives(pid) and children(pid) > before.count(",") + 1, why="it has grown")
        deed(page, "Add queue…", "Add queue extra to worker w1@test on", "extra")
        playwright.expect(page.locator("#told")).to_contain_text("extra")
        deed(page, "Shut down", "Shut down worker w1@test on")
        wait_until(lambda: not lives(pid), seconds=20, why="it has ended")
        lines = server.audited()
    finally:
        server.close()
    verbs = [line["action"]["verb"] for line in lines]
    assert verbs == ["log in", "grow", "add-queue", "shutdown"]
    assert {(line["outcome"], line["asked_by"]["name"]) for line in lines} == {("done", "ann")}


def test_a_task_is_sent_and_aborted(
    visit: Any, redis_server: Any, make_celery: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    """From the page of its queue; what its worker says it runs can be asked to end."""
    celery = make_celery(redis_server.url)
    celery.results = redis_server.url
    node = celery.start_worker("w1", "mail")
    options = ["--listen", "127.0.0.1:0", "--interval", "1", "--allow-control"]
    url = f"celery+{redis_server.url}?result_backend={quote(redis_server.url, safe='')}"
    notes = tmp_path / "notes"
    server = WebServer([url, *options, "--basic-auth", "ann:right"], environment, tmp_path)
    try:
        page = visit("ann", at=server).page
        page.locator("section[data-table=queues] tbody a", has_text="mail").click()
        page.wait_for_url("**/queue?**")
        page.get_by_role("button", name="Send task…", exact=True).click()
        page.fill("#fill input[name=task]", "abortable")
        page.fill("#fill input[name=args]", f'["{notes}"]')
        assert page.locator("#fill input[name=queue]").count() == 0  # it is that of the page
        page.keyboard.press("Enter")
        playwright.expect(page.locator("#ask-words")).to_contain_text(
            "Send task abortable to queue mail on"
        )
        page.locator("#ask-yes").click()
        playwright.expect(page.locator("#notice.s-good")).to_contain_text("its id is")
        wait_until(notes.exists, why="it runs")

        page.keyboard.press("1")
        page.locator("section[data-table=workers] tbody a", has_text=node).click()
        page.wait_for_url("**/worker?**")
        page.keyboard.press("i")
        active = page.locator("#told tr", has_text=str(notes))
        playwright.expect(active.get_by_role("button")).to_have_text(["Abort", "Stop"])
        active.get_by_role("button", name="Abort").click()
        playwright.expect(page.locator("#ask-words")).to_contain_text("Abort job")
        page.locator("#ask-yes").click()
        playwright.expect(page.locator("#notice.s-good")).to_contain_text("abort")
        wait_until(lambda: "asked to end" in notes.read_text(), why="it ends by itself")
        lines = server.audited()
    finally:
        server.close()
    assert [line["action"]["verb"] for line in lines] == ["log in", "send", "abort"]


def test_the_workers_of_a_source_rest_and_wake(
    visit: Any, redis_server: Any, make_rq: Any, environment: dict[str, str], tmp_path: Path
) -> None:
    rq = make_rq(redis_server.url)
    rq.start_worker("w1", "mail")
    options = ["--listen", "127.0.0.1:0", "--interval", "1", "--allow-control"]
    url = f"rq+{redis_server.url}"
    server = WebServer([url, *options, "--basic-auth", "ann:right"], environment, tmp_path)
    try:
        page = visit("ann", at=server).page
        page.keyboard.press("5")
        page.wait_for_url("**/sources")
        deed(page, "Suspend workers", "Let all workers rest on")
        assert rq.redis.exists("rq:suspended")
        deed(page, "Wake workers", "Let all workers work again on")
        assert not rq.redis.exists("rq:suspended")
    finally:
        server.close()


def children(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def deed(page: Any, button: str, question: str, *words: str) -> None:
    """Press a button by keys, fill in what it asks, and confirm."""
    page.get_by_role("button", name=button, exact=True).focus()
    page.keyboard.press("Enter")
    for word in words:
        page.keyboard.type(word)
    if button.endswith("…"):
        page.keyboard.press("Enter")
    playwright.expect(page.locator("#ask-words")).to_contain_text(question)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    playwright.expect(page.locator("#notice.s-good")).to_be_visible()


def test_it_can_be_read(visit: Any) -> None:
    """Nothing sticks out, everything has a name, every text has the contrast of WCAG AA."""
    visitor = visit()
    worker = "worker?source=script.json&name=w1&ask=1"
    for path in ("", "queue?source=jobs.db&name=mail", worker, "failures", "findings", "sources"):
        page = visitor.go(path)
        for scheme, wide in SHAPES:
            visitor.shape(scheme, wide)
            assert page.evaluate(_SHAPE) == [scheme == "dark", wide]
            seen = page.evaluate(_LOOK)
            assert seen["sticksOut"] <= 0, (path, scheme, wide)
            assert seen["nameless"] == [], (path, scheme, wide)
            assert seen["pale"] == [], (path, scheme, wide)


def test_a_lost_server_is_noticed(visit: Any, jobs: Jobs, tmp_path: Path) -> None:
    folder = tmp_path / "web"
    folder.mkdir()
    around = {**os.environ, "HOME": str(folder)}
    server = WebServer([jobs.url, "--listen", "127.0.0.1:0", "--interval", "1"], around, folder)
    page = visit().context.new_page()
    page.goto(server.url)
    page.wait_for_selector("#live.on")
    server.close()
    page.wait_for_selector("#live.off")
    page.wait_for_selector("tbody tr.stale")
    page.close()


_SHAPE = "[matchMedia('(prefers-color-scheme: dark)').matches, window.innerWidth]"
# ruff: noqa: E501
_LOOK = """() => {
  const channel = (value) => { value /= 255; return value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4; };
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = numbers(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const pale = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((part) => part.nodeType === 3 && part.textContent.trim());
    if (!own || !node.checkVisibility() || node.disabled || node.closest(".skip")) continue;
    const [a, b] = [light(numbers(getComputedStyle(node).color)), light(ground(node))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) pale.push(`${node.tagName}.${node.className} ${node.textContent.slice(0, 20)} ${contrast.toFixed(2)}`);
  }
  const nameless = [...document.querySelectorAll("button, a, input:not([type=hidden])")]
    .filter((node) => node.checkVisibility())
    .filter((node) => !(node.textContent.trim() || node.getAttribute("aria-label") || (node.labels && node.labels.length)))
    .map((node) => node.outerHTML);
  const root = document.documentElement;
  return { pale: pale.slice(0, 5), nameless, sticksOut: root.scrollWidth - root.clientWidth };
}"""
