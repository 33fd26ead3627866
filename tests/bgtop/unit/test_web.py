"""The pure parts of the web server: rights, credentials, filters, differences, addresses."""

from __future__ import annotations

import copy
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.actions import CancelJob, PurgeQueue, RequeueFailed, RetryJob, Verb
from bgtop.contracts import Interest
from bgtop.jobs import JobList, JobQuery, JobReading, JobState
from bgtop.model import (
    BackendInfo,
    Capability,
    Frame,
    QueueReading,
    Reading,
    Snapshot,
    Source,
    WorkerReading,
)
from bgtop.state.intake import BadPattern
from bgtop.state.records import QUEUE_FACTS
from bgtop.view.pages import PAGES
from bgtop.view.ui import Ui
from bgtop.web.credentials import (
    Accounts,
    BadCredentials,
    account_of_option,
    add_token,
    hash_of_password,
    is_too_open,
    read_file,
    with_grants,
)
from bgtop.web.grants import ANYBODY, Grant, Person, Role, narrowed, verbs_of, why_not, why_not_here
from bgtop.web.listen import BadAddress, address_of, check_exposure
from bgtop.web.looks import Answer, Look, answer_in, interest_for, looks_of, with_answers
from bgtop.web.models import difference, model_of
from bgtop.web.patterns import checked
from bgtop.web.sessions import Attempts, Sessions
from bgtop.web.verbs import BadRequest, action_of
from bgtop.web.visits import NoSuchPage, ui_of
from bgtop.worker_actions import GrowPool, SendTask, SetTimeLimits

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
ALL = frozenset(Capability)
ADMIN = Person("adam", Grant(Role.ADMIN), "token")


def source_of(name: str, system: str = "rq", **reading: Any) -> Source:
    info = BackendInfo(
        system=system, broker="redis", url="redis://h", capabilities=ALL, verbs=frozenset(Verb)
    )
    return Source(name=name, info=info, reading=Reading(taken_at=NOW, **reading))


def frame_of(*sources: Source) -> Frame:
    return Frame(snapshot=Snapshot(taken_at=NOW, sources=sources))


QUEUES = tuple(QueueReading(name=name, depth=2) for name in ("bulk", "mail"))


# Rights


def test_each_role_may_do_what_the_one_before_may() -> None:
    viewer, operator, admin = (verbs_of(role) for role in Role)

    assert viewer == frozenset()
    assert viewer < operator < admin == frozenset(Verb)
    assert not {Verb.PURGE, Verb.DELETE} & operator


@pytest.mark.parametrize("verb", Verb)
def test_nobody_changes_anything_without_control_or_credentials(verb: Verb) -> None:
    assert "read-only" in (why_not(ADMIN, verb, control=False) or "")
    assert "log in" in (why_not(ANYBODY, verb, control=True) or "")
    assert why_not(ADMIN, verb, control=True) is None


def test_a_queue_that_is_not_known_is_covered_only_by_a_grant_for_all() -> None:
    mail = Grant(Role.ADMIN, queues=("mail*",))

    assert why_not_here(mail, PurgeQueue(queue="mail-2"), "mail-2") is None
    assert why_not_here(mail, PurgeQueue(queue="bulk"), "bulk") is not None
    assert why_not_here(mail, RetryJob(id="1"), None) is not None
    assert why_not_here(mail, RequeueFailed(), None) is not None
    assert why_not_here(Grant(Role.ADMIN), RequeueFailed(), None) is None
    assert why_not_here(mail, GrowPool(worker="w"), None) is not None
    assert why_not_here(Grant(Role.ADMIN), GrowPool(worker="w"), None) is None


def test_a_grant_narrows_everything_that_is_shown() -> None:
    workers = (
        WorkerReading(name="both", queues=("bulk", "mail"), current=()),
        WorkerReading(name="other", queues=("bulk",)),
        WorkerReading(name="unknown"),
    )
    rows = tuple(
        JobReading(id=queue or "?", state=JobState.WAITING, queue=queue)
        for queue in ("bulk", "mail", None)
    )
    jobs = JobList(query=JobQuery(), rows=rows)
    here = source_of("here", queues=QUEUES, workers=workers, jobs=jobs, totals={"unacked": 9})
    frame = frame_of(here, source_of("there", queues=QUEUES))

    seen = narrowed(frame, Grant(sources=("her?",), queues=("mail",))).snapshot.sources
    assert [source.name for source in seen] == ["here"]
    reading = seen[0].reading
    assert reading is not None
    assert reading.jobs is not None
    assert [queue.name for queue in reading.queues] == ["mail"]
    assert [(w.name, w.queues, w.current) for w in reading.workers] == [("both", ("mail",), None)]
    assert [job.id for job in reading.jobs.rows] == ["mail"]
    assert reading.totals == {}
    assert narrowed(frame, Grant()) is frame


# Credentials


def test_passwords_and_tokens_are_kept_as_hashes(tmp_path: Path) -> None:
    token = add_token(str(tmp_path / "t"), "bob=operator,queue=mail*")
    accounts = Accounts([account_of_option("ann:right"), *read_file(str(tmp_path / "t"))])

    assert "right" not in repr(account_of_option("ann:right"))
    bob = accounts.by_token(token)
    assert bob is not None
    assert bob.grant == Grant(Role.OPERATOR, queues=("mail*",))
    assert accounts.by_token(token + "x") is None
    assert accounts.by_token("") is None
    assert accounts.by_password("ann", "right") is not None
    assert accounts.by_password("ann", "wrong") is None
    assert accounts.by_password("bob", token) is None
    assert accounts.by_password("nobody", "right") is None


def test_an_unknown_name_takes_as_long_as_a_wrong_password() -> None:
    """Measured by the processor time; scrypt is nearly all of both."""
    accounts = Accounts([account_of_option("ann:right")])

    def cost(name: str) -> float:
        began = time.process_time()
        for _ in range(3):
            accounts.by_password(name, "wrong")
        return time.process_time() - began

    known, unknown = cost("ann"), cost("nobody")
    assert 0.4 < known / unknown < 2.5


def test_a_hash_is_taken_for_a_password() -> None:
    kept = hash_of_password("right")
    [account] = with_grants([account_of_option(f"ann:{kept}")], ["ann=viewer,source=prod"])

    assert account.hash == kept
    assert account.grant == Grant(Role.VIEWER, sources=("prod",))


@pytest.mark.parametrize(
    "line", ["bob admin", "bob admin plain", "bob king sha256$" + "0" * 64, "bob admin sha256$0 x"]
)
def test_lines_that_are_none_are_refused_without_repeating_them(tmp_path: Path, line: str) -> None:
    path = tmp_path / "t"
    path.write_text(line)
    path.chmod(0o600)
    with pytest.raises(BadCredentials) as caught:
        read_file(str(path))

    assert "plain" not in str(caught.value).replace("a plain secret", "")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("mode", "owner", "user", "too_open"),
    [
        (0o600, 7, 7, False),
        (0o400, 0, 0, False),
        (0o640, 7, 7, True),
        (0o604, 0, 7, True),
        # As Kubernetes mounts a secret for a user that is not root.
        (0o440, 0, 7, False),
        (0o640, 0, 7, False),
        (0o460, 0, 7, True),
        (0o444, 0, 7, True),
        (0o440, 0, 0, True),
        (0o440, 8, 7, True),
    ],
)
def test_who_else_may_read_a_file_of_secrets(
    mode: int, owner: int, user: int, too_open: bool
) -> None:
    assert is_too_open(mode, owner=owner, user=user) is too_open


def test_sessions_end() -> None:
    clock = Clock()
    sessions = Sessions(clock)
    account = account_of_option(f"ann:{hash_of_password('x')}")
    ids = {sessions.begin(account) for _ in range(3)}
    assert len(ids) == 3
    used, idle, ended = ids
    sessions.end(ended)
    assert sessions.person(ended) is None
    for _ in range(11):
        clock.now += 3600
        assert sessions.person(used) is not None
    assert sessions.person(idle) is None
    clock.now += 3601
    assert sessions.person(used) is None
    assert sessions.person("") is None


def test_failed_log_ins_make_one_wait() -> None:
    clock = Clock()
    attempts = Attempts(each=2, all_=5, clock=clock)
    for _ in range(2):
        assert attempts.wait("a") == 0
        attempts.failed("a")
    assert attempts.wait("a") == 60
    assert attempts.wait("b") == 0
    clock.now += 61
    assert attempts.wait("a") == 0
    for place in "cdefg":
        attempts.failed(place)
    assert attempts.wait("z") > 0


def test_one_place_does_not_use_up_what_all_places_have() -> None:
    attempts = Attempts(each=2, all_=5, clock=Clock())
    for _ in range(9):
        attempts.failed("a")
    assert attempts.wait("a") > 0
    assert attempts.wait("b") == 0


# Requests


@pytest.mark.parametrize(
    ("request_", "action"),
    [
        ({"verb": "purge", "queue": "mail"}, PurgeQueue(queue="mail")),
        ({"verb": "requeue"}, RequeueFailed()),
        ({"verb": "requeue", "task": "t", "source": "s"}, RequeueFailed(task="t")),
        (
            {"verb": "cancel", "id": "1", "terminate": True, "signal": "SIGKILL"},
            CancelJob(id="1", terminate=True, signal="SIGKILL"),
        ),
        ({"verb": "grow", "worker": "w", "by": 2}, GrowPool(worker="w", by=2)),
        (
            {"verb": "limit-time", "task": "t", "soft": 3, "hard": 4.5},
            SetTimeLimits(task="t", soft=3, hard=4.5),
        ),
        (
            {"verb": "send", "task": "t", "args": "[1]", "expires": "2026-11-22T03:00:00Z"},
            SendTask(task="t", args="[1]", expires="2026-11-22T03:00:00Z"),
        ),
    ],
)
def test_requests_that_mean_an_action(request_: Any, action: Any) -> None:
    assert action_of(request_) == action


@pytest.mark.parametrize(
    "request_",
    [
        *([], "purge", None, {}, {"verb": []}, {"verb": "drop"}, {"verb": "purge"}),
        {"verb": "purge", "queue": ""},
        {"verb": "purge", "queue": 1},
        {"verb": "purge", "queue": "x" * 2000},
        {"verb": "purge", "queue": "a", "id": "b"},
        {"verb": "purge", "queue": "a", "dry_run": "yes"},
        {"verb": "cancel", "id": "1", "signal": "SIGKILL; rm"},
        {"verb": "cancel", "id": "1", "terminate": 1},
        {"verb": "retry", "id": None},
        {"verb": "grow", "worker": "w", "by": -1},
        {"verb": "grow", "worker": "w", "by": True},
        {"verb": "limit-rate", "task": "t", "rate": "often"},
        {"verb": "send", "task": "t", "args": "{}"},
        {"verb": "send", "task": "t", "eta": "soon"},
        {"verb": "grow", "worker": "w", "by": 0},
        {"verb": "grow", "worker": "w", "by": 1001},
        {"verb": "shrink", "worker": "w", "by": 1001},
        {"verb": "autoscale", "worker": "w", "least": 1},
        {"verb": "autoscale", "worker": "w", "least": 3, "most": 1},
        {"verb": "autoscale", "worker": "w", "least": 1, "most": 1001},
        {"verb": "limit-time", "task": "t", "soft": 9, "hard": 5},
    ],
)
def test_requests_that_mean_none(request_: Any) -> None:
    with pytest.raises(BadRequest):
        action_of(request_)


@pytest.mark.parametrize(
    "text", ["", "mail", "mail !bulk", "^mail.*x$", "(queue:a OR queue:b)", "depth>10", "a|b", "x?"]
)
def test_filters_people_write_are_taken(text: str) -> None:
    assert checked(text, QUEUE_FACTS) == text


@given(st.text(st.sampled_from("ab()|*+?{}2,.[]\\^$ !:"), max_size=14))
def test_no_pattern_takes_long(text: str) -> None:
    """The worst there is for it: a long name that nearly fits."""
    from bgtop.model import UNKNOWN_RATES
    from bgtop.state.filters import filter_of
    from bgtop.state.records import QueueRow

    try:
        keeps = filter_of(checked(text, QUEUE_FACTS), QUEUE_FACTS)
    except BadPattern:
        return
    name = "a" * 120 + "!"
    row = QueueRow(source_of("s"), QueueReading(name=name), UNKNOWN_RATES, ("s", name))
    began = time.process_time()
    if keeps is not None:
        keeps(row)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize("text", ["127.0.0.1:80", "[::1]:80", "localhost:80", "unix:/tmp/x"])
def test_addresses_only_this_machine_reaches_need_nothing(text: str) -> None:
    check_exposure(address_of(text), credentials=False, encrypted=False)


@pytest.mark.parametrize("text", ["0.0.0.0:80", "[::]:80", "192.168.1.1:80", "example.org:80"])
def test_addresses_others_reach_need_credentials_and_tls(text: str) -> None:
    address = address_of(text)
    for have in ((False, False), (True, False), (False, True)):
        with pytest.raises(BadAddress):
            check_exposure(address, credentials=have[0], encrypted=have[1])
    check_exposure(address, credentials=True, encrypted=True)


@pytest.mark.parametrize("text", ["", "80", ":80", "h:", "h:x", "h:99999", "unix:"])
def test_texts_that_are_no_address(text: str) -> None:
    with pytest.raises(BadAddress):
        address_of(text)


# Looks


def test_a_poll_answers_one_query_and_all_parts() -> None:
    first, second = (Look("s", jobs=JobQuery(queue=name)) for name in "ab")
    types = Look("s", part="task_types")

    chosen = interest_for(Interest(), [first, types, second], [Look("s", part="schedules")])
    assert chosen.interest == Interest(jobs=first.jobs, task_types=True, schedules=True)
    assert chosen.looks == {first, types}


def test_a_system_is_only_asked_what_it_can_tell() -> None:
    able = source_of("s")
    unable = replace(able, info=replace(able.info, capabilities=frozenset()))
    everything = Interest(
        jobs=JobQuery(), task_types=True, schedules=True, events=True, checkup=True
    )

    assert len(looks_of(able, everything, Interest())) == 5
    assert looks_of(able, Interest(events=True), Interest(events=True)) == []
    assert looks_of(unable, everything, Interest()) == [Look("s", part="checkup")]


def test_a_frame_shows_only_what_was_looked_at() -> None:
    jobs = JobList(query=JobQuery(queue="a"))
    other = JobList(query=JobQuery(queue="b"))
    frame = frame_of(source_of("s", jobs=other))
    look = Look("s", jobs=jobs.query)

    assert answer_in(Reading(taken_at=NOW, jobs=other), look, 0) is None
    [seen] = with_answers(frame, [look], {look: Answer(0, jobs=jobs)}).snapshot.sources
    assert seen.reading is not None
    assert seen.reading.jobs == jobs
    [unseen] = with_answers(frame, [], {look: Answer(0, jobs=jobs)}).snapshot.sources
    assert unseen.reading is not None
    assert unseen.reading.jobs is None


# Pages


def model(frame: Frame, page: str = "overview", **query: str) -> dict[str, Any]:
    return model_of(frame, ui_of(page, query, frame, 5.0), NOW, ADMIN, control=True)


def applied(model: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """What the script in the browser does with a message."""
    after = {**copy.deepcopy(model), **{k: v for k, v in changes.items() if k != "tables"}}
    for key, changed in changes.get("tables", {}).items():
        before = {} if changed.get("all") else after["tables"][key]
        rows = {**before.get("rows", {}), **changed.get("rows", {})}
        table = {**before, **changed, "rows": rows}
        table.pop("all", None)
        table["rows"] = {id_: table["rows"][id_] for id_ in table["order"]}
        after["tables"][key] = table
    return after


readings = st.lists(
    st.builds(
        QueueReading,
        name=st.sampled_from("abcd"),
        depth=st.none() | st.integers(0, 3),
        paused=st.none() | st.booleans(),
        consumers=st.integers(0, 1),
    ),
    unique_by=lambda queue: queue.name,
    max_size=4,
)


@given(readings, readings)
def test_a_browser_that_hears_all_changes_has_the_page(
    before: list[QueueReading], after: list[QueueReading]
) -> None:
    old, new = (model(frame_of(source_of("s", queues=tuple(queues)))) for queues in (before, after))

    assert applied(old, difference(old, new)) == new
    assert difference(new, new) == {}


def test_every_page_has_a_model_and_an_address() -> None:
    frame = frame_of(source_of("s p", queues=QUEUES), source_of("s", "celery", queues=QUEUES))
    for page in PAGES:
        query = {"queue": "name", "worker": "name", "job": "id"}.get(page)
        made = model(frame, page, **({"source": "s p", query: "mail"} if query else {}))
        assert made["page"] == page
    row = model(frame)["tables"]["queues"]["rows"].values()
    assert {shown["href"] for shown in row} >= {"queue?source=s+p&name=mail"}


@pytest.mark.parametrize(
    ("page", "query"),
    [
        ("nowhere", {}),
        ("queue", {}),
        ("queue", {"source": "s"}),
        ("queue", {"source": "other", "name": "mail"}),
        ("overview", {"f-queues": "x" * 3000}),
    ],
)
def test_addresses_that_lead_nowhere(page: str, query: dict[str, str]) -> None:
    with pytest.raises(NoSuchPage):
        ui_of(page, query, frame_of(source_of("s", queues=QUEUES)), 5.0)


def test_nothing_is_offered_to_those_who_may_not() -> None:
    frame = frame_of(source_of("s", queues=QUEUES))
    ui: Ui = ui_of("overview", {}, frame, 5.0)

    def offers(person: Person, *, control: bool = True) -> set[str]:
        rows = model_of(frame, ui, NOW, person, control=control)["tables"]["queues"]["rows"]
        return {name for row in rows.values() for name in row.get("offer", [[]])[0]}

    assert offers(ADMIN) == {"pause", "resume", "purge"}
    assert offers(ADMIN, control=False) == set()
    assert offers(Person("o", Grant(Role.OPERATOR), "token")) == {"pause", "resume"}
    assert offers(Person("v", Grant(), "token")) == offers(ANYBODY) == set()
