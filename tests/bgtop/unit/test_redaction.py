"""Secrets in what jobs carry, however it is written."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from frames import T0
from hypothesis import given
from hypothesis import strategies as st

from bgtop.model import JobList, JobQuery, JobReading, JobState, Reading
from bgtop.state.intake import Selection, take_in
from bgtop.state.redaction import redaction_of

USUAL = redaction_of("")
assert USUAL is not None


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ('[1, {"password": "x"}]', '[1, {"password": "***"}]'),
        ('{"user": {"apiToken": ["x"]}, "n": 1}', '{"user": {"apiToken": "***"}, "n": 1}'),
        ('{"note": "password=x y"}', '{"note": "password=*** y"}'),
        ('["{\\"secret\\": \\"x\\"}"]', '["{\\"secret\\": \\"***\\"}"]'),
        ('{"credit_card": 4111111111111111}', '{"credit_card": "***"}'),
        ("{'password': 'x', 'user': 'bob'}", "{'password': ***, 'user': 'bob'}"),
        (r"User(passwd='a\'b', name='bob')", "User(passwd=***, name='bob')"),
        ("{b'secret': b'x', 'a': 1}", "{b'secret': ***, 'a': 1}"),
        ("login(token=x, cookie={'a': [')', 1]}) rest", "login(token=***, cookie=***) rest"),
        ("Authorization: Bearer x.y.z\nAccept: all", "Authorization: ***\nAccept: all"),
        ("to redis://bob:x@h/0", "to redis://bob:***@h/0"),
    ],
)
def test_what_is_hidden(text: str, hidden: str) -> None:
    assert USUAL is not None
    assert USUAL.text(text) == hidden


@pytest.mark.parametrize(
    "frame",
    [
        "[" * 100_000 + "%s",
        "[" * 20_000 + "%s" + "]" * 20_000,
        '{"a":' * 2_000 + "%s" + "}" * 2_000,
    ],
    ids=["never closed", "closed", "objects"],
)
def test_what_is_nested_too_deeply_hides_its_secrets_too(frame: str) -> None:
    assert USUAL is not None
    hidden = USUAL.text(frame.replace("%s", '{"password": "hunter2"}'))

    assert hidden == frame.replace("%s", '{"password": ***}')


@pytest.mark.parametrize(
    "text",
    [
        '{"max_tokens": 500, "secretary": "ann"}',
        "tokenizer=bert, author='bob'",
        '{"password": null}',
        '{"a":1}',
        "",
    ],
)
def test_what_is_no_secret_stays_as_it_was_written(text: str) -> None:
    assert USUAL is not None
    assert USUAL.text(text) == text


@pytest.mark.parametrize(
    "form",
    [
        lambda secret: json.dumps({"a": 1, "password": secret}),
        lambda secret: repr({"a": 1, "password": secret}),
        lambda secret: repr({"password": secret.encode()}),
        lambda secret: json.dumps(json.dumps({"password": secret})),
        lambda secret: f"f(password={secret!r}, x=1)",
    ],
)
@given(st.text("ab'\"\\ ,:{}[]=\n", max_size=20), st.integers(0, 120))
def test_nothing_of_a_secret_is_left_even_where_the_text_was_cut(
    form: object, noise: str, cut: int
) -> None:
    assert USUAL is not None
    text = form(f"S3CRET{noise}S3CRET")  # type: ignore[operator]

    assert "S3CRET" not in USUAL.text(text)
    assert "S3CRET" not in USUAL.text(text[:cut])


def test_everything_a_job_says_is_looked_at() -> None:
    job = JobReading(
        id="1",
        state=JobState.FAILED,
        args='[{"token": "x"}]',
        kwargs='{"pwd": "x"}',
        result='{"api_key": "x"}',
        error="Refused: password='x'",
        traceback="line\n  login(password='x')",
        facts=(("cookie", "x"), ("meta", "{'secret': 'x'}")),
    )
    reading = Reading(taken_at=T0, jobs=JobList(query=JobQuery(), rows=(job,)))

    def texts(selection: Selection) -> str:
        jobs = take_in(reading, selection).jobs
        assert jobs is not None
        return repr(replace(jobs.rows[0], id=""))

    assert texts(Selection()).count("***") == 7
    assert "'x'" not in texts(Selection())
    assert "***" not in texts(Selection(redact="off"))


def test_more_names_can_be_given() -> None:
    more = redaction_of("iban ^dob$")
    assert more is not None

    assert more.text('{"IBAN": "x", "dob": "x", "password": "x"}').count("***") == 3
    with pytest.raises(ValueError, match="is not a pattern"):
        redaction_of("[")
