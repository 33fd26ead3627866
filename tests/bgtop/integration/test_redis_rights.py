"""The users docs/reference/redis-access.md recommends see everything; with less, less is shown."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError
from redis_checks import commands_of_bgtop
from redis_server import RedisServer
from worlds import open_cluster

from bgtop.cli.feeds import open_feeds
from bgtop.config import Config, SourceSpec
from bgtop.contracts import Interest, NotPermitted, Settings
from bgtop.model import QueueReading, Reading, WorkerState
from bgtop.oneshot import Wanted, take_frame
from bgtop.registry import load_backend
from bgtop.testing import wait_until

PAGE = Path(__file__).parents[3] / "docs/reference/redis-access.md"
SYSTEMS = ("celery", "rq", "huey", "dramatiq", "arq")
WAITING = {"celery": 2, "rq": 3, "huey": 4, "dramatiq": 5, "arq": 6}
MAIL = {**dict.fromkeys(SYSTEMS, "mail"), "arq": "arq:mail"}
"""Celery and arq would both take a key of this name for theirs."""

PATIENCE = 30


def documented() -> list[dict[str, list[str]]]:
    """The rights of each row of both tables: for Redis 7, and for Redis 6."""
    rows = re.findall(r"^\| ([\w ]+) \| `([~&][^`]*)` \|$", PAGE.read_text(), re.MULTILINE)
    found = [(name.lower(), rights.replace("\\|", "|").split()) for name, rights in rows]
    return [dict(found[: len(found) // 2]), dict(found[len(found) // 2 :])]


def without(rights: list[str], less: str) -> list[str]:
    """Redis 6 cannot take back a right to a single subcommand, so what was given is left out."""
    given = less.replace("-", "+", 1)
    return [right for right in rights if right != given] if given in rights else [*rights, less]


@pytest.fixture(scope="module")
def port(tmp_path_factory) -> Iterator[int]:
    """A server on which every system has jobs in the queue of :data:`MAIL` and a worker of another.

    No test changes any of it: they differ in who looks.
    """
    folder = tmp_path_factory.mktemp("systems")
    server = RedisServer(folder)
    with ExitStack() as stack:
        stack.callback(server.stop)
        server.start()
        for system in SYSTEMS:
            cluster = stack.enter_context(closing(cluster_of(system, server.url, folder)))
            cluster.put(MAIL[system], WAITING[system])
            start_worker(system, cluster)
        fetched(server)
        yield server.port


def fetched(server: RedisServer) -> None:
    """A message that a worker of Celery did not acknowledge."""
    with redis.Redis(port=server.port) as admin, admin.pipeline() as pipe:
        pipe.hset("unacked", "tag", '[{"body": "x"}, "", "mail"]')
        pipe.zadd("unacked_index", {"tag": time.time()})
        pipe.execute()


def cluster_of(system: str, url: str, folder: Path) -> Any:
    if system == "huey":
        return open_cluster(system, "HueyCluster", "RedisHuey", url, folder)
    return open_cluster(system, f"{system.capitalize()}Cluster", url, folder)


def start_worker(system: str, cluster: Any) -> None:
    if system == "huey":
        cluster.start_consumer("other")
    elif system == "arq":
        cluster.start_worker("other", reports=1)
    elif system == "dramatiq":
        cluster.start_worker("other")
    else:
        cluster.start_worker("w", "other")


class Eyes:
    """What users with different rights see of one server."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.admin = redis.Redis(port=port, decode_responses=True)
        is_old = self.admin.info("server")["redis_version"].startswith("6.")
        self.rights = documented()[is_old]
        self.allow(*self.rights["all of them"])

    def allow(self, *rights: str) -> None:
        self.admin.execute_command("ACL", "SETUSER", "mon", "reset", "on", ">secret", *rights)
        self.admin.acl_log_reset()

    @property
    def url(self) -> str:
        return f"redis://mon:secret@127.0.0.1:{self.port}/0"

    @property
    def refused(self) -> list[str]:
        return [entry["object"] for entry in self.admin.acl_log()]

    def without(self, system: str, command: str) -> tuple[str, tuple[QueueReading, ...]]:
        """The warnings, in one line, and the queues; or why there is nothing to be seen."""
        try:
            seen = self.see(system, lambda reading: reading.warnings or command == "time")
        except NotPermitted as refusal:
            return str(refusal), ()
        return " ".join(seen.warnings), seen.queues

    def see(self, system: str, enough: Callable[[Reading], Any]) -> Reading:
        """A complete reading that shows enough."""
        backend = load_backend(system).open(f"{system}+{self.url}", Settings())

        def reading() -> Reading | None:
            seen = backend.poll(Interest())
            return seen if seen.complete and enough(seen) else None

        with closing(backend):
            return wait_until(reading, seconds=PATIENCE, every=0.2, why=f"{system} is seen")


@pytest.fixture
def eyes(port: int) -> Eyes:
    return Eyes(port)


def has_worker(reading: Reading) -> bool:
    states = {WorkerState.UNKNOWN, WorkerState.DEAD}
    return any(worker.state not in states for worker in reading.workers)


def facts(reading: Reading) -> dict[str, Any]:
    """What does not change with time."""
    return {
        "mail": [replace(q, oldest=None) for q in reading.queues if q.name in MAIL.values()],
        "workers": [(worker.name, worker.state) for worker in reading.workers],
        "totals": reading.totals,
        "warnings": reading.warnings,
    }


def test_there_is_a_line_for_every_system() -> None:
    names = [list(rights) for rights in documented()]
    assert names == [[*SYSTEMS, "all of them"]] * 2


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_documented_user_sees_everything(system: str, eyes: Eyes) -> None:
    eyes.allow("~*", "allcommands", *({"&*"} & {*eyes.rights["celery"]}))
    everything = eyes.see(system, has_worker)

    eyes.allow(*eyes.rights[system])
    seen = eyes.see(system, has_worker)

    assert facts(seen) == facts(everything)
    assert seen.queues[0].depth == WAITING[system]
    assert seen.warnings == ()
    assert eyes.refused == []


@pytest.mark.parametrize("system", [*SYSTEMS, "all of them"])
def test_the_documented_user_changes_nothing(system: str, eyes: Eyes) -> None:
    eyes.allow(*eyes.rights[system])
    names = [name for name in eyes.admin.acl_cat("write") if "|" not in name]
    commands = [*map(str.split, names), *(words.split() for words in OTHERS)]

    with redis.Redis.from_url(eyes.url) as user:
        answers = {" ".join(words): allowed(user, words) for words in commands}

    assert len(answers) > 80
    assert {words for words, may in answers.items() if may} == set()


OTHERS = ("publish", "keys", "config set", "client kill", "shutdown", "script flush")


def allowed(user: redis.Redis, words: list[str]) -> bool:
    """Whether the user may run a command; it is tried with ever more arguments until it fits."""
    for count in range(12):
        try:
            user.execute_command(*words, *["1"] * count)
        except NoPermissionError as refusal:
            return "permissions to run the" not in str(refusal)
        except redis.ResponseError as refusal:
            if "wrong number of arguments" not in str(refusal):
                return True
        else:
            return True
    raise AssertionError(words)


def test_one_user_for_all_systems_at_an_address(eyes: Eyes) -> None:
    config = Config(sources=(SourceSpec(name="h", url=eyes.url),))

    def found() -> dict[str | None, Reading | None] | None:
        frame = take_frame(open_feeds(config), config, Wanted(), report=pytest.fail)
        readings = {source.info.system: source.reading for source in frame.snapshot.sources}
        assert frame.searches[0].reading is not None
        assert frame.searches[0].reading.warnings == ()
        shown = all(
            # A report of arq that was seen only once may be an old one.
            reading and (reading.workers if system == "arq" else has_worker(reading))
            for system, reading in readings.items()
        )
        return readings if shown else None

    readings = wait_until(found, seconds=PATIENCE, why="every system shows its worker")

    assert {
        system: (reading.queues[0].depth, reading.warnings) for system, reading in readings.items()
    } == {system: (WAITING[system], ()) for system in SYSTEMS}
    assert eyes.refused == []


@pytest.mark.parametrize(
    ("system", "less", "warning"),
    [
        ("celery", "-psubscribe", "no heartbeats: the server does not let us subscribe to them"),
        ("celery", "resetchannels", "no heartbeats: the server does not let us subscribe to them"),
        ("celery", "-smembers", "the server does not let us read what announces them"),
        ("rq", "-pubsub", "which workers live is unknown: the server does not let us ask"),
        ("rq", "-time", ""),
        ("huey", "-client|list", "does not let us list its connections"),
        ("huey", "-info", "does not let us list its connections"),
        ("arq", "-time", ""),
        ("dramatiq", "-info", "the right to INFO would help to tell"),
        *((system, "-scan", "") for system in SYSTEMS),
        *((system, "-client|setname", "") for system in SYSTEMS),
        *((system, "-hello", "") for system in SYSTEMS),
    ],
)
def test_with_less_the_rest_stays_right(system: str, less: str, warning: str, eyes: Eyes) -> None:
    eyes.see(system, has_worker)

    eyes.allow(*without(eyes.rights[system], less))
    seen = eyes.see(system, lambda reading: warning in " ".join(reading.warnings))

    assert bool(warning) == bool(seen.warnings) or less == "-scan"
    depths = {queue.name: queue.depth for queue in seen.queues}
    assert depths.get(MAIL[system], WAITING[system]) == WAITING[system]
    if less not in {"-scan", "-smembers"}:
        assert MAIL[system] in depths


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_command_that_is_not_permitted_is_named(system: str, eyes: Eyes) -> None:
    eyes.allow(*eyes.rights[system])
    whole = eyes.see(system, lambda reading: has_worker(reading) and has_all(system, reading))
    with commands_of_bgtop(eyes.port) as names:
        eyes.see(system, has_worker)
    # Redis 6 does not say which connection is called bgtop.
    commands = {name.lower() for name in names} - {"auth", "hello", "client", "select"}
    commands = commands or NEEDED[system]
    assert commands >= NEEDED[system]

    for command in sorted(commands):
        eyes.allow(*without(eyes.rights[system], f"-{command}"))
        words, queues = eyes.without(system, command)
        assert (command.upper() in words) == (command != "time"), (command, words)
        assert "too large" not in words
        assert "understood" not in words
        known = {queue.name: queue for queue in whole.queues}
        for queue in queues:
            for number in ("depth", "unacked", "scheduled", "running", "failed", "dead"):
                truth = getattr(known[queue.name], number)
                assert getattr(queue, number) in (None, truth), (command, queue)


def has_all(system: str, reading: Reading) -> bool:
    return system != "celery" or {queue.name for queue in reading.queues} == {"mail", "other"}


NEEDED = {
    "celery": {"llen", "hlen", "zrange", "hstrlen", "hmget", "smembers", "scan", "psubscribe"},
    "rq": {"llen", "zcard", "zcount", "hmget", "hget", "pubsub", "lrange", "zrevrange", "scan"},
    "huey": {"llen", "zcard", "info", "lindex", "memory", "scan"},
    "dramatiq": {"llen", "hlen", "zcard", "zrevrange", "lindex", "hget", "info", "scan"},
    "arq": {"scan"},
}
"""Among the commands each backend uses; so that the test above looks at some at all."""


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_key_that_may_not_be_read_is_one_number_less(system: str, eyes: Eyes) -> None:
    eyes.see(system, has_worker)
    rights = [right for right in eyes.rights[system] if not right.startswith("~")]
    known = [key for key in eyes.admin.keys("*") if key not in LISTS[system]]

    eyes.allow(*rights, *(f"~{key}" for key in known), "~unacked*", "~rq:w*", "~*__heartbeats__")
    seen = eyes.see(system, lambda _: True)

    assert [queue.depth for queue in seen.queues if queue.name in MAIL.values()] in ([None], [])
    assert "does not let us read" in " ".join(seen.warnings)


LISTS = {
    "celery": {"mail"},
    "rq": {"rq:queue:mail"},
    "huey": {"huey.redis.mail"},
    "dramatiq": {"dramatiq:mail", "dramatiq:mail.msgs"},
    "arq": {"arq:mail"},
}
