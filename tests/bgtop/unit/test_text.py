"""Texts for people: names made harmless, figures made short, cut to a width."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import wcwidth

from bgtop.view import text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("mail", "mail"),
        ("über", "über"),
        ("日本語", "日本語"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\x00b\tc\r\n", r"a\x00b\x09c\x0d\x0a"),
        ("\x7f", r"\x7f"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\u2066x\u2069", r"\u2066x\u2069"),
        ("pay\u200bpal", r"pay\u200bpal"),
        ("\ufeffbom", r"\ufeffbom"),
        ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
        ("\ud800", r"\ud800"),
        ("\u3164", r"\u3164"),
        *((f"a{blank}b", f"a\\u{ord(blank):04x}b") for blank in "\u115f\u1160\u2800\u3164\uffa0"),
        ("\u0301x", r"\u0301x"),
        ("\U000e0041", r"\U000e0041"),
        ("", ""),
    ],
)
def test_a_name_shows_what_a_terminal_would_obey_or_hide(name: str, shown: str) -> None:
    assert text.clean(name) == shown


@given(st.text())
def test_a_clean_name_holds_nothing_a_terminal_obeys(name: str) -> None:
    shown = text.clean(name)

    assert shown.isprintable()
    assert not {unicodedata.category(letter) for letter in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@given(st.text(max_size=20))
def test_cleaning_twice_changes_nothing(name: str) -> None:
    assert text.clean(text.clean(name)) == text.clean(name)


def test_towers_of_accents_are_cut_down() -> None:
    """Two accents on a letter are a script's, the third is an attack on the line above."""
    assert text.clean("e\u0301\u0302\u0303x\u0301") == "e\u0301\u0302\\u0303x\u0301"
    assert text.width(text.clean("e" + "\u0301" * 50)) > 50


def test_a_huge_name_does_not_stall_the_screen() -> None:
    text.clean("é\u0301")  # the tables of widths are loaded once
    for name in ("x" * 10_000, "\x1b" * 10_000, "e\u0301" * 5_000, "日" * 10_000):
        began = time.thread_time()
        text.fit(text.clean(name), 20)

        assert time.thread_time() - began < 0.005


@given(st.text(), st.integers(0, 60), st.booleans())
def test_fit_takes_exactly_its_cells(name: str, columns: int, right: bool) -> None:
    assert text.width(text.fit(text.clean(name), columns, right=right)) == columns


@given(st.text(st.sampled_from("a\u02ffé\u0301日–≥…│─·↑↓←→›▁█\u2011-")))
def test_a_text_is_as_wide_as_its_letters_together(name: str) -> None:
    assert text.width(name) == sum(max(wcwidth(letter), 0) for letter in name)


def test_our_own_signs_are_measured_without_a_look_at_each_letter() -> None:
    """Nearly every cell of a picture holds one; 5,000 of them cost 0.05 ms so, and 2 ms singly."""
    signs = "–" * 5_000
    text.width(signs)
    began = time.thread_time()
    for _ in range(20):
        text.width(signs)

    assert time.thread_time() - began < 0.01


def test_fit_says_that_it_cut() -> None:
    assert text.fit("webhooks.slow", 8) == "webhook…"
    assert text.fit("日本語キュー", 6) == "日本… "
    assert text.fit("webhooks.slow", 8, tail=4) == "web…slow"
    assert text.fit("webhooks.slow", 8, tail=99) == "…ks.slow"
    assert text.fit("日本語キュー", 6, tail=3) == "日…ー "
    assert text.fit("mail", 8, tail=4) == "mail    "
    assert text.fit("queue-e\u0301e\u0301", 4, tail=2) == "q…e\u0301e\u0301"
    assert text.fit("12", 5, right=True) == "   12"


@given(st.text())
def test_ascii_only_is_ascii(name: str) -> None:
    assert text.ascii_only(text.clean(name)).isascii()


def test_our_own_signs_have_a_spelling_in_ascii() -> None:
    assert text.ascii_only("– ≥3.2s │ …") == "- >=3.2s | ~"


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0, "0"), (9_999_999, "9999999"), (12_345_678, "12.3M"), (10**15, "1.0P")],
)
def test_numbers(value: int | None, shown: str) -> None:
    assert text.number(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (0.0, "0.0"),
        (0.001, "<.01"),
        (0.02, "0.02"),
        (4.96, "5.0"),
        (99.96, "100"),
        (1234.5, "1234"),
        (123_456.0, "123k"),
    ],
)
def test_rates(value: float | None, shown: str) -> None:
    assert text.rate(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "–"),
        (0, "0ms"),
        (0.0001, "<1ms"),
        (0.2, "200ms"),
        (0.9999, "1.0s"),
        (3.21, "3.2s"),
        (9.96, "10s"),
        (75, "75s"),
        (125, "2m05s"),
        (3600 * 26, "26h00m"),
        (86_400 * 3, "3d00h"),
        (86_400 * 400, "400d"),
        (1e300, "31709y"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert text.duration(seconds) == shown


def test_ages_change_once_a_second() -> None:
    assert [text.age(second) for second in (0.0, 0.99, 1.0, 1.99)] == ["0s", "0s", "1s", "1s"]


@given(st.integers(0), st.floats(0, 1e300), st.floats(0, 1e300))
def test_figures_never_outgrow_their_columns(count: int, speed: float, seconds: float) -> None:
    assert len(text.number(count)) <= 7
    assert len(text.rate(speed)) <= 6
    assert len(text.duration(seconds)) <= 6
    assert len(text.age(seconds)) <= 6
