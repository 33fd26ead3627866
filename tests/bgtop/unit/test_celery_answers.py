"""What comes back from workers is JSON that everybody can read, whatever they wrote."""

from __future__ import annotations

import json

import pytest

from bgtop.backends.celery.control import DEEPEST, answers_in
from bgtop.state.redaction import redaction_of


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number_is_nothing(word: str) -> None:
    (answer,) = answers_in(b'{"w@h": {"load": [1.5, %b], "n": 1}}' % word.encode())

    assert answer.value == {"load": [1.5, None], "n": 1}
    json.dumps(answer.value, allow_nan=False)


def test_what_nobody_can_follow_is_cut() -> None:
    redaction = redaction_of("")
    assert redaction is not None
    (answer,) = answers_in(b'{"w@h": %b1%b}' % (b"[" * 500, b"]" * 500))

    hidden = redaction.value(answer.value)
    assert json.dumps(hidden) == "[" * DEEPEST + "null" + "]" * DEEPEST
