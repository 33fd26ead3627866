"""Failed, dead or tried again: the decision as a table, its limits as properties."""

from __future__ import annotations

import json
import math
import os
import sys

import pytest
import specimens
from hypothesis import given
from hypothesis import strategies as st

from bgworker.codec import dump_error
from bgworker.model import (
    CRASH_BUDGET,
    Claim,
    Dead,
    Ending,
    Failed,
    Retry,
    Retrying,
    TaskPolicy,
)
from bgworker.retry import (
    Mishap,
    crash_words,
    policy_from_json,
    policy_to_json,
    verdict,
)
from bgworker.states import TRANSITIONS, JobState

NOW = 1_700_000_000_000
ERROR = dump_error("E", "e")
LATEST = NOW + 21 * 366 * 86_400_000
"""No wait is longer than this: what is stored has to be an instant people can read."""


def claim(*, retries: int = 0, crashes: int = 0) -> Claim:
    return specimens.claim(attempts=retries + crashes + 1, retries=retries, crashes=crashes)


def judge(
    mishap: Mishap, retry: Retry, *, retries: int = 0, crashes: int = 0, covers_timeout: bool = True
) -> Ending:
    policy = TaskPolicy(
        name="t", queue="q", priority=5, retry=retry, retries_timeout=covers_timeout
    )
    held = claim(retries=retries, crashes=crashes)
    return verdict(mishap, policy, held, ERROR, now=NOW, chance=0.5)


TWO = Retry(max=2, delay=1, backoff=3, jitter=0)
NONE = Retry()


@pytest.mark.parametrize(
    ("mishap", "retry", "retries", "crashes", "covers", "ending"),
    [
        (Mishap.RAISED, NONE, 0, 0, True, Failed(ERROR)),
        (Mishap.RAISED, TWO, 0, 0, True, Retrying(ERROR, NOW + 1_000)),
        (Mishap.RAISED, TWO, 1, 0, True, Retrying(ERROR, NOW + 3_000)),
        (Mishap.RAISED, TWO, 2, 0, True, Dead(ERROR)),
        (Mishap.RAISED, TWO, 9, 0, True, Dead(ERROR)),
        (Mishap.RAISED, TWO, 0, 2, True, Retrying(ERROR, NOW + 1_000)),
        (Mishap.REFUSED, NONE, 0, 0, True, Failed(ERROR)),
        (Mishap.REFUSED, TWO, 0, 0, True, Failed(ERROR)),
        (Mishap.REFUSED, TWO, 2, 0, True, Failed(ERROR)),
        (Mishap.TIMED_OUT, NONE, 0, 0, True, Failed(ERROR)),
        (Mishap.TIMED_OUT, TWO, 0, 0, True, Retrying(ERROR, NOW + 1_000)),
        (Mishap.TIMED_OUT, TWO, 2, 0, True, Dead(ERROR)),
        (Mishap.TIMED_OUT, TWO, 0, 0, False, Failed(ERROR)),
        (Mishap.CRASHED, NONE, 0, 0, True, Retrying(ERROR, NOW + 1_000, crashed=True)),
        (Mishap.CRASHED, TWO, 0, 1, True, Retrying(ERROR, NOW + 3_000, crashed=True)),
        (Mishap.CRASHED, TWO, 0, 2, True, Dead(ERROR, crashed=True)),
        (Mishap.CRASHED, TWO, 2, 0, False, Retrying(ERROR, NOW + 1_000, crashed=True)),
        (Mishap.CRASHED, TWO, 2, 9, True, Dead(ERROR, crashed=True)),
    ],
)
def test_verdict(
    mishap: Mishap, retry: Retry, retries: int, crashes: int, covers: bool, ending: Ending
) -> None:
    retry = Retry(max=retry.max, delay=1, backoff=3, jitter=0)

    assert judge(mishap, retry, retries=retries, crashes=crashes, covers_timeout=covers) == ending


retries_ = st.builds(
    Retry,
    max=st.integers(0, 10**6),
    delay=st.floats(0, 3e8),
    backoff=st.floats(1, 1e9),
    max_delay=st.floats(0, 3e8),
    jitter=st.floats(0, 1),
)
chances = st.floats(0, 1, exclude_max=True)
attempts = st.integers(1, 30) | st.integers(1, 10**9)


@given(st.sampled_from(Mishap), retries_, st.integers(0, 10**7), st.integers(0, 10**7), chances)
def test_every_mishap_has_a_verdict_that_can_be_stored(
    mishap: Mishap, retry: Retry, retries: int, crashes: int, chance: float
) -> None:
    """However high the counts: no overflow, and no budget is exceeded."""
    policy = TaskPolicy(name="t", queue="q", priority=5, retry=retry)
    held = claim(retries=retries, crashes=crashes)
    ending = verdict(mishap, policy, held, ERROR, now=NOW, chance=chance)

    if isinstance(ending, Retrying):
        assert NOW <= ending.run_at < LATEST
        assert ending.crashed is (mishap is Mishap.CRASHED)
        assert crashes + 1 < CRASH_BUDGET if ending.crashed else retries < retry.max
    elif isinstance(ending, Dead):
        assert ending.crashed is (mishap is Mishap.CRASHED)
        assert crashes + 1 >= CRASH_BUDGET if ending.crashed else retries >= retry.max
    else:
        assert isinstance(ending, Failed)
        assert mishap is Mishap.REFUSED or retry.max == 0


@given(retries_, attempts, chances)
def test_a_wait_keeps_within_its_jitter(retry: Retry, attempt: int, chance: float) -> None:
    middle = retry.wait(attempt, 0.5)
    found = retry.wait(attempt, chance)

    if attempt <= 20:
        assert middle == min(retry.max_delay, retry.delay * retry.backoff ** (attempt - 1))
    assert 0 <= middle <= retry.max_delay
    assert middle * (1 - retry.jitter) - 1e-9 <= found <= middle * (1 + retry.jitter) + 1e-9


@given(retries_, attempts)
def test_waits_never_shrink(retry: Retry, attempt: int) -> None:
    assert retry.wait(attempt + 1, 0.5) >= retry.wait(attempt, 0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max": -1}, "max=-1"),
        ({"delay": -0.1}, "delay=-0.1"),
        ({"jitter": -1}, "jitter=-1"),
        ({"jitter": 1.5}, "jitter=1.5"),
        ({"backoff": 0.5}, "backoff=0.5"),
        ({"max_delay": -1}, "max_delay=-1"),
        ({"delay": math.nan}, "delay=nan"),
        ({"delay": math.inf}, "delay=inf"),
        ({"backoff": math.nan}, "backoff=nan"),
        ({"backoff": math.inf}, "backoff=inf"),
        ({"max_delay": math.nan}, "max_delay=nan"),
        ({"max_delay": math.inf}, "max_delay=inf"),
        ({"max_delay": 1e17}, "max_delay=1e"),
        ({"jitter": math.nan}, "jitter=nan"),
        ({"max": math.nan}, "max=nan"),
        ({"max": 1.5}, "max=1.5"),
        ({"max": -1, "delay": -2}, "max=-1.*delay=-2"),
        ({"max": "3"}, "max='3'"),
        ({"on": [OSError]}, "on=.*must be exception types"),
        ({"on": (OSError, 5)}, "on=.*must be exception types"),
        ({"on": "OSError"}, "on='OSError'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], words: str) -> None:
    """Where they are written, not in the worker that would die of them."""
    with pytest.raises(ValueError, match=words):
        Retry(**options)  # type: ignore[arg-type]


@given(retries_, st.none() | st.floats(0.1, 1e6), st.booleans())
def test_a_policy_survives_its_way_to_the_supervisor(
    retry: Retry, timeout: float | None, covers: bool
) -> None:
    policy = TaskPolicy(
        name="t\ud800",
        queue="q",
        priority=-3,
        retry=retry,
        timeout=timeout,
        hard_timeout=timeout,
        retries_timeout=covers,
    )

    assert policy_from_json(json.loads(json.dumps(policy_to_json(policy)))) == policy


def test_the_words_for_a_death() -> None:
    """From real wait statuses."""
    for code, words, name in (
        ("import os; os._exit(3)", "the process exited with status 3", None),
        ("import os; os._exit(0)", "the process exited with status 0", None),
        ("import os; os.kill(os.getpid(), 11)", "the process was killed by SIGSEGV", "SIGSEGV"),
        ("import os; os.kill(os.getpid(), 9)", "the process was killed by SIGKILL", "SIGKILL"),
        ("import os; os.kill(os.getpid(), 40)", "the process was killed by signal 40", "signal 40"),
    ):
        pid = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", code], os.environ)
        _, status = os.waitpid(pid, 0)

        assert crash_words(status) == (words, name)


# The table of moves


def test_every_state_is_in_the_table_and_every_move_leads_somewhere() -> None:
    assert set(TRANSITIONS) == set(JobState)
    for state, moves in TRANSITIONS.items():
        assert state not in moves
        if state.is_final:  # only a request can move it, and only to where jobs begin
            assert moves <= {JobState.QUEUED, JobState.BLOCKED}
            assert bool(moves) is (state is not JobState.SUCCEEDED)


def test_only_running_jobs_end_and_every_job_can_be_cancelled() -> None:
    final = {state for state in JobState if state.is_final}
    assert final == {JobState.SUCCEEDED, JobState.FAILED, JobState.DEAD, JobState.CANCELLED}
    for state in set(JobState) - final:
        assert JobState.CANCELLED in TRANSITIONS[state]
        ends = TRANSITIONS[state] & (final - {JobState.CANCELLED})
        assert bool(ends) is (state is JobState.RUNNING)


def test_a_job_runs_only_from_the_queue_and_every_job_can_end() -> None:
    assert {s for s, moves in TRANSITIONS.items() if JobState.RUNNING in moves} == {JobState.QUEUED}
    for state in JobState:
        reached = {state}
        while more := {m for s in reached for m in TRANSITIONS[s]} - reached:
            reached |= more
        assert any(s.is_final for s in reached)


def test_a_state_is_its_word() -> None:
    """What is stored and printed."""
    assert [str(state.value) for state in JobState] == [
        *("scheduled", "queued", "running", "retrying", "blocked"),
        *("succeeded", "failed", "dead", "cancelled"),
    ]
    assert JobState("queued") is JobState.QUEUED
    assert json.dumps(JobState.QUEUED) == '"queued"'
