"""What can be looked at and done is what the documents say, system by system."""

from __future__ import annotations

import re
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest

from bgtop.actions import Verb
from bgtop.cli.web import parser
from bgtop.contracts import Settings
from bgtop.model import Capability
from bgtop.registry import plugin_for
from bgtop.web.grants import Role, verbs_of

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
HOW_TO = ROOT / "docs/how-to"

ROWS: dict[str, tuple[Capability | Verb, ...]] = {
    "single jobs": (Capability.JOBS,),
    "figures by task": (Capability.TASK_TYPES,),
    "schedules": (Capability.SCHEDULES,),
    "retry": (Verb.RETRY,),
    "cancel": (Verb.CANCEL,),
    "delete": (Verb.DELETE,),
    "requeue all that failed": (Verb.REQUEUE,),
    "purge a queue": (Verb.PURGE,),
    "pause and resume a queue": (Verb.PAUSE, Verb.RESUME),
    "let all workers rest, and wake them": (Verb.SUSPEND, Verb.WAKE),
    "shut a worker down": (Verb.SHUTDOWN,),
    "restart its processes": (Verb.RESTART,),
    "grow, shrink and scale its pool": (Verb.GROW, Verb.SHRINK, Verb.AUTOSCALE),
    "give it queues, take them away": (Verb.ADD_QUEUE, Verb.DROP_QUEUE),
    "limit a task's rate and time": (Verb.LIMIT_RATE, Verb.LIMIT_TIME),
    "send a job": (Verb.SEND,),
    "ask a job to end": (Verb.ABORT,),
}
ADDRESSES = {
    "Celery on Redis": ("celery+redis://h/0",),
    "Celery on RabbitMQ": ("celery+amqp://h/v",),
    "RQ": ("rq+redis://h/0",),
    "Huey": ("huey+redis://h/0", "huey+sqlite:////tmp/huey.db"),
    "Dramatiq on Redis": ("dramatiq+redis://h/0",),
    "Dramatiq on RabbitMQ": ("dramatiq+amqp://h/v",),
    "arq": ("arq+redis://h/0",),
    "bgworker": ("sqlite:////tmp/jobs.db",),
}
RESULTS = "?result_backend=redis%3A%2F%2Fh%2F1"
IN_PART = {"what was cancelled"}
OPTIONS = {"with redbeat": "?redbeat_key_prefix=x", "with an option ²": RESULTS}
"""What an address has to say where the table says so."""

TABLES = {
    "Celery on Redis": ("watch-celery.md", 0),
    "Celery on RabbitMQ": ("watch-celery-on-rabbitmq.md", 0),
    "RQ": ("watch-rq.md", 0),
    "Huey": ("watch-huey.md", 0),
    "Dramatiq on Redis": ("watch-dramatiq.md", 0),
    "Dramatiq on RabbitMQ": ("watch-dramatiq.md", 1),
    "arq": ("watch-arq.md", 0),
}
"""The page of a system, and which of its tables of actions."""


@cache
def can(url: str) -> frozenset[Capability | Verb]:
    """What the source of this address says of itself; nothing is connected."""
    with closing(plugin_for(url).open(url, Settings())) as backend:
        info = backend.info
    return info.capabilities | info.verbs


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|\n").split("|")]


def table() -> dict[str, dict[str, str]]:
    """The cells of README's table by row, and by system."""
    lines = README.partition("What can be looked at, and what can be done:\n\n")[2].split("\n\n")[0]
    head, _, *rows = map(cells, lines.splitlines())
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def test_the_table_has_all_rows_and_systems() -> None:
    assert [*table()] == [*ROWS]
    assert {verb for row in ROWS.values() for verb in row} >= set(Verb)
    assert all([*row] == [*ADDRESSES] for row in table().values())
    shown = next(line for line in README.splitlines() if line.startswith("| | Celery on Redis"))
    assert cells(shown)[1:] == [*ADDRESSES]


@pytest.mark.parametrize("system", ADDRESSES)
def test_the_table_says_what_the_system_says_of_itself(system: str) -> None:
    for row, facts in ROWS.items():
        words = table()[row][system]
        for url in ADDRESSES[system]:
            if words in OPTIONS:
                assert can(url + OPTIONS[words]).issuperset(facts), row
            is_so = words in {"yes", *IN_PART}
            assert [fact in can(url) for fact in facts] == [is_so] * len(facts), row
            assert words in {"yes", "–", *IN_PART, *OPTIONS}


@pytest.mark.parametrize("system", TABLES)
def test_the_page_of_the_system_says_the_same(system: str) -> None:
    """Each action is named; a refusal begins with "no"."""
    page, number = TABLES[system]
    tables = (HOW_TO / page).read_text().split("\n| action | what is done |\n|---|---|\n")[1:]
    rows = [cells(line) for line in tables[number].partition("\n\n")[0].splitlines()]
    done: dict[Verb, bool] = {}
    for names, words in rows:
        for name in names.removesuffix(" with terminate").split(", "):
            done[Verb(name)] = re.match(r"no\b", words) is None

    option = RESULTS if "Celery" in system else ""
    assert {verb for verb, really in done.items() if really} == {
        fact for fact in can(ADDRESSES[system][0] + option) if isinstance(fact, Verb)
    }
    assert set(done) == set(Verb)


def test_what_an_operator_may_is_what_is_told_of_one() -> None:
    """In the guide, and by ``bgtop web --help``."""
    may = {verb.value for verb in verbs_of(Role.OPERATOR)}
    row = re.search(r"^\| `operator` \| (.+) \|$", (HOW_TO / "web.md").read_text(), re.MULTILINE)
    helped = re.search(r"operator \((.+?)\)", parser("web").format_help())

    assert row is not None
    assert helped is not None
    assert {*re.findall("[a-z]+", row[1])} & {verb.value for verb in Verb} == may
    assert {*helped[1].split(", ")} == may
