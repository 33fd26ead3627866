"""What Dramatiq, Huey and arq store of a job is read without ever raising, whatever it holds."""

from __future__ import annotations

import gzip
import json
import pickle
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from bgtop.backends.arq.stored_jobs import call_in, result_row
from bgtop.backends.dramatiq.stored_message import message_in, outcome_in, sent_anew
from bgtop.backends.huey.messages import digest_of, result_in, revocation, task_in
from bgtop.model import JobState

ANYTHING = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(),
    lambda inner: some.lists(inner) | some.dictionaries(some.text(), inner),
    max_leaves=8,
)
MESSAGE = some.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("args", "kwargs", "message_timestamp", "queue_name"), ANYTHING),
        **dict.fromkeys(("message_id", "actor_name"), some.text() | ANYTHING),
        "options": some.fixed_dictionaries(
            {},
            optional=dict.fromkeys(
                ("eta", "retries", "max_retries", "traceback", "pipe_target", "other"), ANYTHING
            ),
        )
        | ANYTHING,
    },
)
JOB = some.fixed_dictionaries(
    {"f": some.text() | ANYTHING},
    optional=dict.fromkeys(("t", "a", "k", "et", "s", "r", "st", "ft", "q", "id"), ANYTHING),
)


@given(MESSAGE | ANYTHING)
def test_any_message_of_dramatiq_is_read_or_not(value: object) -> None:
    raw = json.dumps(value).encode()
    message = message_in(raw)
    outcome_in(raw)
    again = message_in(sent_anew(raw, b"mail", 1_700_000_000.0))

    assert (message is None) == (again is None)
    if message is not None and again is not None:
        assert (again.id, again.actor, again.args) == (message.id, message.actor, message.args)
        assert message.error is None or message.error.splitlines() == [message.error]


@given(some.binary(max_size=300))
def test_any_bytes_are_read_or_not(raw: bytes) -> None:
    for read in (message_in, outcome_in, task_in, result_in, call_in):
        read(raw)  # type: ignore[operator]
    assert result_row("1", raw).id == "1"


@given(JOB)
def test_any_job_of_arq_is_read_or_not(fields: dict[str, Any]) -> None:
    raw = pickle.dumps(fields)
    row = result_row("1", raw)

    assert (call_in(raw) is None) == row.malformed == (not isinstance(fields["f"], str))
    if not row.malformed:
        assert (row.state is JobState.SUCCEEDED) == (fields.get("s") is True)


def test_a_message_sent_anew_keeps_what_it_calls_and_forgets_what_became_of_it() -> None:
    options = {
        "redis_message_id": "r",
        "max_retries": 3,
        "pipe_target": {"message_id": "next"},
        "retries": 3,
        "traceback": "x\nValueError: y",
        "requeue_timestamp": 5,
        "eta": 6,
    }
    fields = {
        "message_id": "a",
        "actor_name": "add",
        "args": [1, {"ä": 2.5}],
        "kwargs": {},
        "queue_name": "mail.DQ",
        "message_timestamp": 7,
        "options": options,
    }
    raw = json.dumps(fields).encode()
    message = message_in(raw)
    assert message is not None
    assert (message.error, message.children, message.retries) == ("ValueError: y", ("next",), 3)

    anew = json.loads(sent_anew(raw, b"mail", 12.5))
    kept = {key: options[key] for key in ("redis_message_id", "max_retries", "pipe_target")}
    assert anew == {
        **fields,
        "queue_name": "mail",
        "message_timestamp": 12_500,
        "options": kept,
    }
    for odd in (b"\x80\x04.", b"[1]", b'{"options": 1}', b"{"):
        assert sent_anew(odd, b"mail", 1.0) == odd
    assert sent_anew(raw, b"\xff", 1.0) == raw


@pytest.mark.parametrize("window", [None, 15, 31])
def test_the_mark_of_a_revoked_task_is_what_huey_reads(window: int | None) -> None:
    from bgtop.backends.huey.messages import Coding

    mark = revocation(Coding(window, signed=False))
    unpack = {None: bytes, 15: zlib.decompress, 31: gzip.decompress}[window]

    assert pickle.loads(unpack(mark)) == (None, True)


def test_what_unpacks_to_more_than_is_read_is_left_alone() -> None:
    for bomb in (gzip.compress(b"\x80\x04" + bytes(10_000_000)), zlib.compress(bytes(10_000_000))):
        assert task_in(bomb) is None
        assert result_in(bomb) is None
        assert digest_of(bomb) == digest_of(bomb) != digest_of(bomb + b"x")
