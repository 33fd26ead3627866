"""Command lines that are read without argparse mean what argparse says they mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.cli import live, option_table
from bgtop.cli.option_table import LIVE
from bgtop.cli.quick import read
from bgtop.cli.settings import config_of
from bgtop.config import Config

_WORDS = [option.word for option in LIVE]
_PARTS = st.one_of(
    st.sampled_from(_WORDS),
    st.sampled_from(["redis://h", "profile", "5", "", "-", "--", "-5", "-h", "--nothing", "a b"]),
    st.builds("{}={}".format, st.sampled_from(_WORDS), st.sampled_from(["", "1", "a=b", "-x"])),
)


# Where a text is wanted that is no number.
_SAID = {"--backend": "rq", "--theme": "night", "--renderer": "plain", "--sort": "depth"}


@given(st.lists(_PARTS, max_size=6))
def test_it_agrees_with_argparse(words: list[str]) -> None:
    found = read(words, LIVE)

    if found is not None:
        assert vars(found) == vars(live.parser("").parse_args(words))


@pytest.mark.parametrize("option", LIVE, ids=lambda option: option.word)
def test_no_option_needs_argparse(option: option_table.Option) -> None:
    words = ["redis://h", option.word, *(["1"] if option.value else [])]

    found = read(words, LIVE)

    assert found is not None
    assert vars(found) == vars(live.parser("").parse_args(words))


def test_the_table_has_every_option_of_the_live_view() -> None:
    words = {word for action in live.parser("")._actions for word in action.option_strings}
    assert words - set(_WORDS) == {"-h", "--help", "--version"}


@pytest.mark.parametrize(
    "words", [["--help"], ["--interval"], ["--interval", "--ascii"], ["a", "--ascii", "b"], ["--"]]
)
def test_help_faults_and_unusual_forms_are_left_to_argparse(words: list[str]) -> None:
    assert read(words, LIVE) is None


@pytest.mark.parametrize(
    "option",
    [option for option in LIVE if option.key not in {"config", "profile", "verbose"}],
    ids=lambda option: option.word,
)
def test_every_option_changes_the_settings(option: option_table.Option) -> None:
    def settings(*words: str) -> Config:
        options = live.parser("").parse_args(["redis://h", "--config", "/dev/null", *words])
        return config_of(options)

    value = [_SAID.get(option.word, "7")] if option.value else []
    assert settings(option.word, *value) != settings()
