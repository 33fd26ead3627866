"""Keys change the state of a screen; the selection stays with its row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frames import ANY_FRAME, T0, frame, queues, source
from hypothesis import given
from hypothesis import strategies as st

from bgtop.contracts import Size
from bgtop.model import Frame, Reading, WorkerReading
from bgtop.view.commands import COMMANDS
from bgtop.view.keys import follow, reduce
from bgtop.view.pages import focus_of, page_of
from bgtop.view.pages.overview import QUEUES, WORKERS
from bgtop.view.ui import Editing, Quit, Ui

NAMES = [f"q{number:02}" for number in range(50)]
# 100 x 25 leaves each table 25 - 4 - 1 - 1 = 19 rows.
SCREEN = Ui(size=Size(100, 25))


def many() -> Frame:
    workers = tuple(WorkerReading(name=f"w{number}") for number in range(5))
    reading = Reading(taken_at=T0, queues=queues(*NAMES).queues, workers=workers)
    return frame(source(reading))


def typed(keys: str | list[str], ui: Ui = SCREEN, seen: Frame | None = None) -> Ui:
    for key in keys:
        ui, _ = reduce(ui, key, seen or many())
    return ui


def selected(ui: Ui, seen: Frame | None = None, table: int = 0) -> str:
    """The name on the highlighted row, as the page has it."""
    shown = page_of(seen or many(), ui, T0).tables[table]
    assert shown.selected is not None
    return shown.rows[shown.selected - shown.first].cells[0].text


@pytest.mark.parametrize(
    ("keys", "row"),
    [
        ([], "q00"),
        (["j"], "q01"),
        (["down", "down"], "q02"),
        (["down", "k"], "q00"),
        (["k"], "q00"),
        (["up"], "q00"),
        (["pgdn"], "q19"),
        (["pgdn", "pgdn"], "q38"),
        (["pgdn", "pgdn", "pgdn"], "q49"),
        (["G"], "q49"),
        (["end", "j"], "q49"),
        (["end", "pgup"], "q30"),
        (["end", "g"], "q00"),
        (["end", "home"], "q00"),
        (["x", "left", "resize", "€"], "q00"),
    ],
)
def test_movement(keys: list[str], row: str) -> None:
    assert selected(typed(keys)) == row


def test_tab_changes_the_table_and_each_keeps_its_row() -> None:
    ui = typed(["j", "tab", "j", "j"])

    assert focus_of(ui).key == WORKERS
    assert (selected(ui), selected(ui, table=1)) == ("q01", "w2")
    assert focus_of(typed(["tab"], ui)).key == QUEUES
    assert focus_of(typed(["backtab"], ui)).key == QUEUES


def test_moving_in_an_empty_table_is_harmless() -> None:
    assert typed(["j", "G", "pgdn", "g"], seen=frame(source(None))) == SCREEN


def test_a_window_scrolls_only_at_its_edges() -> None:
    ui = typed(["j"] * 18)
    assert page_of(many(), ui, T0).tables[0].first == 0

    ui = typed(["j"], ui)
    assert page_of(many(), ui, T0).tables[0].first == 1

    ui = typed(["k"] * 18, ui)
    assert page_of(many(), ui, T0).tables[0].first == 1


def test_the_selection_stays_with_its_row_when_others_come_and_go() -> None:
    ui = typed(["j", "j"])
    for names in (["a", "b", *NAMES], NAMES[2:], NAMES):
        seen = frame(source(queues(*names)))
        ui = follow(ui, seen)

        assert selected(ui, seen) == "q02"


def test_a_row_that_is_gone_leaves_the_selection_where_it_was() -> None:
    ui = typed(["j", "j"])
    without = frame(source(queues(*[name for name in NAMES if name != "q02"])))

    ui = follow(ui, without)

    assert selected(ui, without) == "q03"
    assert selected(follow(ui, many())) == "q03"


def test_a_moment_without_rows_loses_no_selection() -> None:
    ui = follow(typed(["j", "j"]), frame(source(None)))

    assert selected(follow(ui, many())) == "q02"


def test_the_first_row_stays_selected_until_somebody_moves() -> None:
    seen = frame(source(queues("a", *NAMES)))

    assert selected(follow(SCREEN, seen), seen) == "a"


def test_a_filter_works_while_it_is_typed() -> None:
    ui = typed("/4")
    assert page_of(many(), ui, T0).tables[0].total == 14

    ui = typed("2", ui)
    assert page_of(many(), ui, T0).tables[0].total == 1
    assert ui.editing == Editing(text="42", before="")


def test_enter_keeps_a_filter_and_escape_drops_it() -> None:
    ui = typed(["/", "4", "2", "enter"])
    assert (ui.editing, ui.pane(QUEUES).filter) == (None, "42")

    assert typed(["esc"], ui).pane(QUEUES).filter == ""


def test_escape_while_typing_goes_back_to_the_filter_before() -> None:
    ui = typed(["/", "4", "enter", "/", "2", "esc"])

    assert (ui.editing, ui.pane(QUEUES).filter) == (None, "4")


def test_editing_keys() -> None:
    assert typed(["/", "4", "2", "backspace"]).pane(QUEUES).filter == "4"
    assert typed(["/", "4", "ctrl+u", "1"]).pane(QUEUES).filter == "1"
    assert typed(["/", "backspace", "up", "tab", "f1"]).editing == Editing(text="", before="")


def test_keys_are_letters_while_a_filter_is_typed() -> None:
    ui, effects = reduce(typed("/"), "q", many())

    assert (ui.pane(QUEUES).filter, effects) == ("q", ())


def test_a_leading_exclamation_mark_inverts() -> None:
    assert page_of(many(), typed("/!4"), T0).tables[0].total == 36


def test_a_bad_pattern_is_told_and_changes_no_rows() -> None:
    ui = typed("/4(")
    page = page_of(many(), ui, T0)

    assert page.tables[0].total == 14
    assert page.prompt is not None
    assert "missing )" in (page.prompt.error or "")
    still = typed(["enter"], ui)
    assert still.editing is not None, "a pattern that is none cannot be kept"
    assert typed(["esc"], ui).pane(QUEUES).filter == ""


def test_a_filter_belongs_to_its_table() -> None:
    ui = typed(["tab", "/", "3", "enter"])
    page = page_of(many(), ui, T0)

    assert [table.total for table in page.tables] == [50, 1]


def test_a_filter_does_not_grow_without_bounds() -> None:
    assert len(typed("/" + "a" * 600).pane(QUEUES).filter) == 500


@pytest.mark.parametrize("key", ["esc", "q", "?", "x", "enter"])
def test_any_key_closes_the_help_and_does_nothing_else(key: str) -> None:
    before = typed("?")
    assert before.help

    ui, effects = reduce(before, key, many())

    assert (ui, effects) == (SCREEN, ())


def test_a_resize_does_not_close_the_help() -> None:
    assert typed(["?", "resize"]).help


def test_q_quits() -> None:
    assert reduce(SCREEN, "q", many()) == (SCREEN, (Quit(),))


def test_no_key_means_two_things() -> None:
    keys = [key for command in COMMANDS for key in command.keys]

    assert len(keys) == len(set(keys))


KEYS = [key for command in COMMANDS for key in command.keys]


@given(
    st.lists(ANY_FRAME, min_size=1, max_size=4),
    st.lists(st.sampled_from([*KEYS, "enter", "backspace", "(", "a", "!", "[", "resize"])),
    st.integers(1, 150),
    st.integers(1, 60),
)
def test_any_keys_over_any_data_give_a_page(
    frames: list[Frame], keys: list[str], columns: int, rows: int
) -> None:
    ui = Ui(size=Size(columns, rows))
    for number, key in enumerate(keys):
        seen = frames[number % len(frames)]
        ui, _ = reduce(follow(ui, seen), key, seen)
        page = page_of(seen, ui, T0)

        for table in page.tables:
            assert (table.selected is None) == (table.total == 0)
            assert len(table.rows) <= table.total - table.first
            if table.rows and table.selected is not None:
                assert table.first <= table.selected < table.first + len(table.rows)


def test_commands_do_not_depend_on_the_size_being_known() -> None:
    assert selected(typed(["pgdn"], replace(SCREEN, size=None))) == "q10"
