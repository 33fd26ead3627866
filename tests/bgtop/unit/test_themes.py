"""Colours: the words for them, the shipped themes, and what is left on simpler terminals."""

from __future__ import annotations

import pytest

from bgtop.contracts import Look
from bgtop.view.spans import Style
from bgtop.view.themes import THEMES, Paint, paint_of, paints_of, style_named, theme_named


@pytest.mark.parametrize(
    ("words", "paint"),
    [
        ("red", Paint(letters=1)),
        ("bright red on black", Paint(letters=9, ground=0)),
        ("bright-white", Paint(letters=15)),
        ("208 on 17 bold underline", Paint(letters=208, ground=17, bold=True, underline=True)),
        ("on blue", Paint(ground=4)),
        ("default on default", Paint()),
        ("GREY Dim", Paint(letters=8, dim=True)),
        ("reverse", Paint(reverse=True)),
    ],
)
def test_words_for_colours(words: str, paint: Paint) -> None:
    assert paint_of(words) == paint


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("", "is empty"),
        ("pink", "'pink' is neither a colour"),
        ("256", "'256' is neither"),
        ("-1", "'-1' is neither"),
        ("²", "'²' is neither"),
        ("red blue", "'blue' is one word too many"),
        ("red on", "no colour follows 'on'"),
        ("red on blue on green", "'on' is one word too many"),
    ],
)
def test_words_that_are_no_colours(words: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        paint_of(words)


@pytest.mark.parametrize("colors", [0, 8, 16, 256])
@pytest.mark.parametrize("theme", THEMES)
def test_each_theme_paints_every_style_on_every_terminal(theme: str, colors: int) -> None:
    paints = paints_of(Look(theme=theme), colors)

    assert set(paints) == set(Style)
    used = [c for paint in paints.values() for c in (paint.letters, paint.ground) if c is not None]
    assert all(color < colors for color in used)


@pytest.mark.parametrize("colors", [0, 8, 16, 256])
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("style", [Style.SELECTED, Style.HEADING, Style.TITLE, Style.ALARM])
def test_what_must_stand_out_does(style: Style, theme: str, colors: int) -> None:
    paint = paints_of(Look(theme=theme), colors)[style]

    assert paint.reverse or (paint.ground is not None and paint.ground != paint.letters)


def test_grey_with_fewer_colours() -> None:
    assert paints_of(Look(), 16)[Style.FAINT] == Paint(letters=8)
    assert paints_of(Look(), 8)[Style.FAINT] == Paint(letters=7, dim=True)
    assert paints_of(Look(), 8)[Style.HEADING_AWAY] == Paint(reverse=True)


def test_own_colours_are_put_over_a_theme() -> None:
    look = Look(theme="mono", colors=(("title_strong", "208"), ("bad", "white on 196")))

    paints = paints_of(look)

    assert paints[Style.TITLE_STRONG] == Paint(letters=208)
    assert paints[Style.BAD] == Paint(letters=7, ground=196)
    assert paints_of(look, 16)[Style.BAD] == Paint(letters=7, ground=9)


def test_without_colour_own_colours_are_none_either() -> None:
    look = Look(color=False, colors=(("bad", "red"),))

    assert all(p.letters is None and p.ground is None for p in paints_of(look).values())


def test_names() -> None:
    assert style_named("heading away") is style_named("heading-away") is Style.HEADING_AWAY
    with pytest.raises(ValueError, match="unknown part of the screen; known: plain, faint"):
        style_named("wallpaper")
    assert theme_named("light") == "light"
    with pytest.raises(ValueError, match="'pink' is no theme; known: default, light"):
        theme_named("pink")
