"""Flower's search language: what it finds, and what it refuses in which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.state.seen_tasks import SeenTask
from bgtop.state.task_search import BadSearch, pairs_in, search_of


def _task() -> SeenTask:
    task = SeenTask("s", "6b7c68e2-ac38")
    task.name, task.state, task.worker = "shop.send", "SUCCESS", "w1@host"
    task.args, task.result = "('Äpfel', 7)", "None"
    task.kwargs = "{'who': 'ann b', 'deep': {'k': 'v', 'l': [1, 2]}, 'n': 12, 'q': 'it\\'s, so'}"
    return task


FOUND = [
    *("", "  ", "shop", "SHOP", "6b7c68e2", "w1@", "äPFEL", "success", "none"),
    *("name:shop", "NAME:shop", "state:success", "worker:w1@host", "args:äpfel", "result:none"),
    *("kwargs:who", 'kwargs:who="ann b"', 'kwargs:"who=ann b"', "kwargs:n=12", "kwargs:N=12"),
    *("name:shop state:SUCCESS", "name:shop AND w1@", "nothing OR shop", "(nothing OR shop) w1@"),
    *("((((( shop )))))", '"shop.send"', 'sho"p.s"end', "nothing OR name:shop w1@"),
]
MISSED = [
    *("nothing", "state:SUCC", "name:success", "kwargs:who=ann", "kwargs:k=v", "kwargs:n=1"),
    *(
        "name:shop state:FAILURE",
        "not shop",
        "foo:shop",
        "kwargs:=x",
    ),
    *("shop AND (nothing OR other)", "kwargs:so=", "kwargs:deep=k"),
]
REFUSED = [
    ("NOT add", "NOT is not supported at position 0."),
    ("add NOT x", "NOT is not supported at position 4."),
    ("-add", "Negation with '-' is not supported at position 0."),
    ("add -again", "Negation with '-' is not supported at position 4."),
    ("ad", "Substring search terms must contain at least 3 characters at position 0."),
    ("name:ad", "Substring search terms must contain at least 3 characters at position 0."),
    ("(name:add", "Missing closing parenthesis at position 0."),
    ("name:add)", "Unexpected ')' at position 8."),
    ("name:", "Search qualifier requires a value at position 0."),
    ("name:(add)", "Search qualifier requires a value at position 0."),
    ("AND", "Expected a search term at position 0."),
    ("OR add", "Expected a search term at position 0."),
    ("add(", "Expected a search term at position 4."),
    ("name:add OR", "OR must be followed by a search term at position 9."),
    ("name:add AND", "AND must be followed by a search term at position 9."),
    ("add OR AND", "OR must be followed by a search term at position 4."),
    ("(add OR)", "OR must be followed by a search term at position 5."),
    ("()", "Empty group at position 0."),
    ('""', "Empty search term at position 0."),
    ('add "open', "Unterminated quoted phrase at position 4."),
    ("((((((name:add))))))", "Query nesting exceeds 5 levels at position 5."),
    ("x" * 2049, "Query exceeds 2048 characters."),
    ("xxx " * 129, "Query exceeds 128 tokens."),
]


@pytest.mark.parametrize("text", FOUND)
def test_it_finds(text: str) -> None:
    condition = search_of(text)
    assert condition is None or condition(_task())


@pytest.mark.parametrize("text", MISSED)
def test_it_does_not_find(text: str) -> None:
    condition = search_of(text)
    assert condition is not None
    assert not condition(_task())


@pytest.mark.parametrize(("text", "words"), REFUSED)
def test_it_refuses(text: str, words: str) -> None:
    with pytest.raises(BadSearch) as refused:
        search_of(text)
    assert str(refused.value) == words


def test_pairs_of_a_dictionary() -> None:
    assert dict(pairs_in(_task().kwargs or "")) == {
        "who": "ann b",
        "deep": "{'k': 'v', 'l': [1, 2]}",
        "n": "12",
        "q": "it's, so",
    }
    assert dict(pairs_in("{}")) in ({}, {"": ""})
    assert dict(pairs_in("{'a': 1, 'b': 'cu...")) == {"a": "1"}
    assert [*pairs_in("no dictionary")] == []


@given(st.text(alphabet="ab:\"'\\()-= ORNDT{}[],", max_size=60))
def test_any_text_is_a_search_or_refused(text: str) -> None:
    try:
        condition = search_of(text)
    except BadSearch:
        return
    assert condition is None or condition(_task()) in {True, False}


@given(st.text(alphabet="ab:\"'\\{}[](), ", max_size=60))
def test_any_text_has_some_pairs_or_none(text: str) -> None:
    assert all(isinstance(key, str) for key, _ in pairs_in("{" + text))
