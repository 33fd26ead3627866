"""What the mouse does, which is what is under it."""

from __future__ import annotations

import pytest
from frames import ANY_FRAME, T0, looked_into, usual_frame
from hypothesis import given
from hypothesis import strategies as st

from bgtop.contracts import Size
from bgtop.model import Frame
from bgtop.view.hits import Hit, hit_of
from bgtop.view.keys import reduce
from bgtop.view.layout import layout
from bgtop.view.pages import focus_of, page_of
from bgtop.view.ui import Perform, Ui

SEEN = looked_into()


def find(ui: Ui, text: str, seen: Frame = SEEN) -> tuple[int, int]:
    """The first cell of a text on the screen: (column, row)."""
    assert ui.size is not None
    for row, line in enumerate(layout(page_of(seen, ui, T0), ui.size).lines):
        column = "".join([span.text for span in line]).find(text)
        if column >= 0:
            return column, row
    raise AssertionError(f"{text} is not on the screen")


def clicked(ui: Ui, text: str, seen: Frame = SEEN) -> Ui:
    column, row = find(ui, text, seen)
    ui, _ = reduce(ui, f"click {column} {row}", seen)
    return ui


SIZES = [Size(120, 40), Size(80, 24), Size(60, 12)]


@pytest.mark.parametrize("size", SIZES)
def test_a_click_selects_a_row_and_a_second_one_opens_it(size: Size) -> None:
    ui = clicked(Ui(size=size), "mail.bulk")
    assert ui.pane("queues").selected == ("a", "mail.bulk")

    ui = clicked(ui, "mail.bulk")
    assert (ui.visit.page, ui.visit.subject) == ("queue", ("a", "mail.bulk"))


@pytest.mark.parametrize("size", SIZES[:2])
def test_a_click_into_the_other_table_moves_the_focus(size: Size) -> None:
    ui = clicked(Ui(size=size), "celery@web-01")

    assert focus_of(ui).key == "workers"
    assert ui.pane("workers").selected == ("a", "celery@web-01.example.org")


@pytest.mark.parametrize("size", SIZES)
def test_a_click_on_a_heading_sorts_and_the_next_turns_round(size: Size) -> None:
    ui = clicked(Ui(size=size), "DEPTH")
    assert ui.pane("queues").sort == ("depth", True)

    ui = clicked(ui, "DEPTH")
    assert ui.pane("queues").sort == ("depth", False)


def test_names_of_pages_and_keys_can_be_clicked() -> None:
    ui = Ui(size=Size(120, 40))

    assert clicked(ui, "Schedules").visit.page == "schedules"
    assert clicked(ui, "Help").help
    assert clicked(clicked(ui, "Help"), "Close").help is False
    asking = clicked(ui, "PPurge")
    assert asking.asking is not None
    assert clicked(asking, "NNo").asking is None


def test_the_wheel_moves() -> None:
    ui, _ = reduce(Ui(size=SIZES[1]), "wheeldown", SEEN)
    assert ui.pane("queues").index == 1
    ui, _ = reduce(ui, "wheelup", SEEN)
    assert ui.pane("queues").index == 0


@pytest.mark.parametrize("size", SIZES[:2])
def test_the_wheel_moves_in_the_table_it_is_above(size: Size) -> None:
    """Not while a filter is typed, which is one for the table that has the keys."""
    ui = Ui(size=size)
    column, row = find(ui, "celery@web-00")
    over = f"wheeldown {column} {row}"
    moved, _ = reduce(ui, over, SEEN)
    typing, _ = reduce(reduce(ui, "/", SEEN)[0], over, SEEN)

    assert focus_of(moved).key == "workers"
    assert (moved.pane("workers").index, moved.pane("queues").index) == (1, 0)
    assert focus_of(typing).key == "queues"


@pytest.mark.parametrize("size", SIZES[:2])
def test_the_answers_of_a_question_can_be_clicked(size: Size) -> None:
    asking, _ = reduce(Ui(size=size), "P", SEEN)
    column, row = find(asking, " N No ")

    yes, effects = reduce(asking, f"click {column - 5} {row}", SEEN)  # on "Yes"
    no, none = reduce(asking, f"click {column + 1} {row}", SEEN)

    assert asking.asking is not None
    assert (yes.asking, no.asking) == (None, None)
    assert [type(effect) for effect in effects] == [Perform]
    assert none == ()
    for beside in (f"click 0 {row}", f"click {column + 12} {row}", f"click {column} {row + 1}"):
        assert reduce(asking, beside, SEEN)[0].asking is not None


def test_what_is_covered_cannot_be_clicked() -> None:
    ui = Ui(size=SIZES[1])
    where = find(ui, "mail.bulk")
    for covered in (clicked(ui, "Help"), reduce(ui, "P", SEEN)[0]):
        assert reduce(covered, f"click {where[0]} {where[1]}", SEEN)[0] == covered


@pytest.mark.parametrize("key", ["click", "click x y", "click 1", "click 999 999", "click -1 -1"])
def test_clicks_beside_everything_do_nothing(key: str) -> None:
    ui = Ui(size=SIZES[1])

    assert reduce(ui, key, SEEN)[0] == ui


def test_a_click_without_a_size_does_nothing() -> None:
    assert reduce(Ui(), "click 3 5", SEEN) == (Ui(), ())


@given(
    ANY_FRAME,
    st.builds(Size, st.integers(1, 200), st.integers(1, 60)),
    st.integers(0, 200),
    st.integers(0, 60),
    st.sampled_from(["overview", "tasks", "sources", "findings"]),
)
def test_a_hit_is_something_of_the_page(
    seen: Frame, size: Size, column: int, row: int, name: str
) -> None:
    ui = Ui(size=size)
    ui = ui.at(type(ui.visit)(page=name))
    page = page_of(seen, ui, T0)

    hit = hit_of(page, size, column, row)

    tables = {table.key: table for table in page.tables}
    if hit.table:
        table = tables[hit.table]
        assert hit.row < table.total
        assert not hit.heading or hit.heading in {column.key for column in table.columns}
        assert (hit.row >= 0) != bool(hit.heading) or hit == Hit(table=hit.table)
    reduce(ui, f"click {column} {row}", seen)


def test_every_row_that_is_shown_can_be_hit() -> None:
    seen, size = usual_frame(), Size(120, 40)
    page = page_of(seen, Ui(size=size), T0)

    rows = {
        (hit.table, hit.row)
        for row in range(size.rows)
        for column in range(size.columns)
        if (hit := hit_of(page, size, column, row)).row >= 0
    }

    assert rows == {("queues", row) for row in range(7)} | {("workers", row) for row in range(6)}
