"""Settings of an application that its address tells."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from bgtop.backends.celery.options import Options, read_options
from bgtop.backends.redis_url import RedisAddress


def test_without_options_kombus_defaults_hold() -> None:
    assert read_options("celery+redis://h/0") == Options()
    assert read_options("celery+redis://h/0?ssl_cert_reqs=none#x") == Options()
    assert Options().event_topic(3) == b"/3.celeryev"


def test_options_are_read_as_kombu_writes_them() -> None:
    options = read_options(
        "celery+redis://h/0?visibility_timeout=43200&fanout_prefix=a%26%7Bdb%7D."
        f"&result_backend={quote('redis://:s%23c@h2:7000/1', safe='')}"
    )

    assert options.visibility_timeout == 43200
    assert options.event_topic(2) == b"a&2.celeryev"
    assert options.result_backend == RedisAddress(host="h2", port=7000, db=1, password="s#c")


@pytest.mark.parametrize(
    ("text", "topic"),
    [("false", b"celeryev"), ("", b"celeryev"), ("True", b"/0.celeryev"), ("x", b"xceleryev")],
)
def test_a_fanout_prefix_is_a_switch_or_a_word(text, topic) -> None:
    assert read_options(f"celery+redis://h/0?fanout_prefix={text}").event_topic(0) == topic


@pytest.mark.parametrize("text", ["", "soon", "0", "-1", "nan", "inf"])
def test_a_visibility_timeout_is_a_number_of_seconds(text) -> None:
    with pytest.raises(ValueError, match="visibility_timeout"):
        read_options(f"celery+redis://h/0?visibility_timeout={text}")


def test_a_bad_result_backend_is_named_and_its_password_is_not() -> None:
    with pytest.raises(ValueError, match=r"^result_backend: ") as failed:
        read_options("celery+redis://h/0?result_backend=redis://:secret@h:port")

    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(("text", "asks"), [("yes", True), ("TRUE", True), ("no", False)])
def test_whether_workers_may_be_asked(text: str, asks: bool) -> None:
    assert read_options(f"celery+amqp://h/?ask_workers={text}").ask_workers is asks
    assert not Options().ask_workers


def test_a_switch_is_on_or_off() -> None:
    with pytest.raises(ValueError, match="ask_workers is yes or no"):
        read_options("celery+redis://h/0?ask_workers=perhaps")
