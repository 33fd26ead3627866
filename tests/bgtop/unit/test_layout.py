"""Every line fits: any page, any size."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frames import ANY_FRAME, T0, frame, queues, source, usual_frame
from hypothesis import given
from hypothesis import strategies as st

from bgtop.contracts import Size
from bgtop.model import Frame, QueueReading, Rates, Reading
from bgtop.page import Cell, Column, Fact, Hint, Overlay, Page, Prompt, Row, Status, Table, Tone
from bgtop.view.layout import Screen, layout
from bgtop.view.pages import page_of
from bgtop.view.spans import Style
from bgtop.view.table import places
from bgtop.view.text import width
from bgtop.view.ui import Editing, Pane, Ui, Visit

SIZES = st.builds(Size, st.integers(1, 400), st.integers(1, 100))


def texts(screen: Screen) -> list[str]:
    return ["".join([span.text for span in line]) for line in screen.lines]


def check(screen: Screen, size: Size) -> None:
    """What holds for every screen."""
    lines = texts(screen)
    assert len(lines) == size.rows
    for number, line in enumerate(lines):
        assert width(line) <= size.columns - (number == size.rows - 1), "the last cell stays free"
        assert line.isprintable()
    if screen.cursor is not None:
        row, column = screen.cursor
        assert 0 <= row < size.rows
        assert 0 <= column < size.columns


@given(
    ANY_FRAME,
    SIZES,
    st.booleans(),
    st.booleans(),
    st.none() | st.text(max_size=300),
    st.sampled_from(["queues", "workers"]),
)
def test_every_screen_fits(
    seen: Frame, size: Size, ascii_letters: bool, help_open: bool, typed: str | None, focus: str
) -> None:
    editing = None if typed is None else Editing(text=typed, before="")
    ui = Ui(size=size, interval=5, stack=(Visit(focus=focus),), help=help_open, editing=editing)

    screen = layout(page_of(seen, ui, T0), size, ascii_letters=ascii_letters)

    check(screen, size)
    if ascii_letters:
        assert "".join(texts(screen)).isascii()


ANY_TEXT = st.text(max_size=30)
ANY_CELL = st.builds(Cell, ANY_TEXT, st.sampled_from(Tone))


@st.composite
def any_table(draw: st.DrawFn) -> Table:
    """Columns of any width and rank, cells with any letters in them."""
    least = draw(st.lists(st.integers(0, 50), min_size=1, max_size=6))
    columns = tuple(
        Column(
            key=str(number),
            title=draw(ANY_TEXT),
            least=cells,
            most=cells + draw(st.integers(0, 50)),
            rank=draw(st.integers(0, 5)),
            right=draw(st.booleans()),
        )
        for number, cells in enumerate(least)
    )
    rows = [
        Row(id=("a", str(number)), cells=tuple(draw(ANY_CELL) for _ in columns))
        for number in range(draw(st.integers(0, 4)))
    ]
    return Table(
        key="any",
        columns=columns,
        rows=tuple(rows),
        total=len(rows) + draw(st.integers(0, 9)),
        selected=draw(st.none() | st.integers(0, 9)),
        focused=draw(st.booleans()),
        note=draw(ANY_TEXT),
        empty=draw(ANY_TEXT),
    )


ANY_PAGE = st.builds(
    Page,
    title=st.lists(ANY_CELL, max_size=3).map(tuple),
    corner=ANY_TEXT,
    totals=st.lists(st.builds(Fact, ANY_TEXT, ANY_CELL), max_size=4).map(tuple),
    tables=st.lists(any_table(), max_size=2).map(tuple),
    statuses=st.lists(st.builds(Status, ANY_TEXT, st.sampled_from(Tone), ANY_TEXT), max_size=5).map(
        tuple
    ),
    hints=st.lists(st.builds(Hint, ANY_TEXT, ANY_TEXT), max_size=5).map(tuple),
    prompt=st.none() | st.builds(Prompt, ANY_TEXT, ANY_TEXT, st.none() | ANY_TEXT),
    overlay=st.none()
    | st.builds(Overlay, ANY_TEXT, st.lists(st.tuples(ANY_TEXT, ANY_TEXT), max_size=60).map(tuple)),
)


@given(ANY_PAGE, SIZES, st.booleans())
def test_pages_nobody_has_thought_of_fit_as_well(
    page: Page, size: Size, ascii_letters: bool
) -> None:
    check(layout(page, size, ascii_letters=ascii_letters), size)


@pytest.mark.parametrize("size", [Size(39, 24), Size(80, 9), Size(10, 3)])
def test_a_terminal_too_small_says_so(size: Size) -> None:
    screen = layout(page_of(usual_frame(), Ui(size=size), T0), size)

    assert "terminal too small".startswith(texts(screen)[0].rstrip("…"))


def shown(columns: int, rows: int, focus: str = "") -> list[str]:
    size = Size(columns, rows)
    ui = Ui(size=size, interval=5, stack=(Visit(focus=focus),))
    return texts(layout(page_of(usual_frame(), ui, T0), size))


def test_tables_are_side_by_side_from_a_hundred_columns() -> None:
    assert any("QUEUE" in line and "WORKER" in line for line in shown(100, 24))


def test_tables_are_stacked_when_narrow() -> None:
    lines = shown(99, 24)

    assert not any("QUEUE" in line and "WORKER" in line for line in lines)
    assert any("QUEUE" in line for line in lines)
    assert any("WORKER" in line for line in lines)


def test_a_low_narrow_screen_shows_the_focused_table() -> None:
    assert not any("WORKER" in line for line in shown(60, 12))
    assert any("WORKER" in line for line in shown(60, 12, focus="workers"))


def test_columns_go_by_their_rank_when_they_do_not_fit() -> None:
    headings = {
        columns: next(line.split() for line in shown(columns, 24) if "QUEUE" in line)
        for columns in (99, 60, 40)
    }

    assert headings[99][2:] == [
        *("DEPTH", "UNACKED", "IN/S", "OUT/S", "OLDEST", "MEAN", "LAST", "NOTE")
    ]
    assert headings[60][2:] == ["DEPTH", "UNACKED", "IN/S", "OUT/S", "OLDEST", "NOTE"]
    assert headings[40][2:] == ["DEPTH", "OLDEST", "NOTE"]


def test_the_time_to_drain_has_a_column_while_there_is_one() -> None:
    """An estimate, made of a falling depth alone, is marked as such."""
    size, usual = Size(160, 24), usual_frame()
    drains = {("a", "mail"): Rates(drain_seconds=30.0), ("a", "push"): Rates(drain_seconds=125.0)}
    drains["a", "push"] = replace(drains["a", "push"], drain_is_estimate=True)
    without = texts(layout(page_of(usual, Ui(size=size), T0), size))
    lines = texts(layout(page_of(replace(usual, rates=drains), Ui(size=size), T0), size))

    assert not any("DRAIN" in line for line in without)
    assert any("DRAIN" in line for line in lines)
    assert any(line.startswith(" mail ") and " 30s " in line for line in lines)
    assert any(line.startswith(" push ") and " ~2m05s " in line for line in lines)


def test_room_that_is_left_widens_names_then_gaps() -> None:
    columns = (
        Column(key="name", title="NAME", least=5, most=8, right=False),
        Column(key="n", title="N", least=3, most=3),
    )

    assert [(p.columns, p.gap) for p in places(columns, 9)] == [(5, 0), (3, 1)]
    assert [(p.columns, p.gap) for p in places(columns, 13)] == [(8, 0), (3, 2)]
    assert [(p.columns, p.gap) for p in places(columns, 99)] == [(8, 0), (3, 3)]


def names_at(columns: int, *names: str) -> list[str]:
    """How these names are shown in a column of so many cells."""
    name = Column(key="name", title="NAME", least=columns, most=columns, right=False, name=True)
    rows = tuple(Row(id=("a", name), cells=(Cell(name),)) for name in names)
    table = Table(key="t", columns=(name,), rows=rows, total=len(rows))
    shown = layout(Page(title=(), tables=(table,)), Size(40, 10))
    return [line.strip() for line in texts(shown)[3 : 3 + len(names)]]


def test_names_are_cut_where_that_tells_them_apart() -> None:
    hosts = "celery@web-01.example.org", "celery@web-02.example.org"
    assert names_at(14, *hosts) == ["celery@web-01…", "celery@web-02…"]
    assert names_at(8, "10.0.0.1:6379/0", "10.0.0.1:6379/2") == ["10.…79/0", "10.…79/2"]
    assert names_at(12, "shop.mail.send_one", "shop.mail.send_two") == [
        "shop…end_one",
        "shop…end_two",
    ]
    assert names_at(16, "app.mail.send_cancellation_email", "app.mail.send_confirmation_email") == [
        "…cellation_email",
        "…firmation_email",
    ]
    assert names_at(8, "same-same-same", "same-same-same") == ["same-sa…", "same-sa…"]


@pytest.mark.parametrize("columns", [100, 120])
def test_rows_of_several_sources_say_which_and_what_is_wrong(columns: int) -> None:
    """The system goes first: the source tells it."""
    size = Size(columns, 30)
    waits = Reading(taken_at=T0, queues=(QueueReading(name="mail", depth=1, consumers=0),))
    seen = frame(source(waits, "10.0.0.1:6379/0"), source(waits, "10.0.0.1:6379/2"))
    lines = texts(layout(page_of(seen, Ui(size=size, interval=5), T0), size))
    left = [line.partition("│")[0].split() for line in lines if "│" in line]

    assert left[0][:4] == ["QUEUE", "1/2", "SOURCE", "DEPTH"]
    assert [row[1][-2:] for row in left[1:3]] == ["/0", "/2"]
    assert [row[-2] for row in left[1:3]] == ["no", "no"], "consumer"


@pytest.mark.parametrize("columns", [40, 80, 120])
def test_the_column_a_table_is_sorted_by_is_seen(columns: int) -> None:
    """Else the rows stand in an order that nothing on the screen tells."""
    size = Size(columns, 24)
    seen = usual_frame()
    table = page_of(seen, Ui(size=size), T0).tables[0]
    for column in table.columns:
        ui = Ui(size=size).with_pane(table.key, Pane(sort=(column.key, True)))

        lines = texts(layout(page_of(seen, ui, T0), size))
        [heading] = [line for line in lines if line.startswith((" QUEUE ", " QUEUE↓"))]
        assert f"↓{column.title}" in heading or f"{column.title}↓" in heading, column.title


def test_a_source_is_cut_where_it_differs_also_when_a_filter_leaves_only_one() -> None:
    size = Size(100, 30)
    seen = frame(*(source(queues("mail"), f"10.0.0.1:6379/{base}") for base in range(3)))
    ui = Ui(size=size).with_pane("queues", Pane(filter="source:/2"))

    lines = texts(layout(page_of(seen, ui, T0), size))
    [row] = [line for line in lines if line.split()[:1] == ["mail"]]

    assert row.split()[1].endswith("/2")


def test_a_page_about_a_queue_has_no_column_of_sources() -> None:
    seen = frame(source(queues("mail"), "here"), source(queues("mail"), "there"))
    ui = Ui(size=Size(80, 24), stack=(Visit(), Visit(page="queue", subject=("there", "mail"))))

    titles = [[column.title for column in table.columns] for table in page_of(seen, ui, T0).tables]

    assert len(titles) == 2
    assert all("SOURCE" not in columns for columns in titles)


def test_a_page_about_a_queue_names_its_source() -> None:
    seen = frame(source(queues("mail"), "here"), source(queues("mail"), "there"))
    ui = Ui(size=Size(80, 24), stack=(Visit(), Visit(page="queue", subject=("there", "mail"))))

    title = texts(layout(page_of(seen, ui, T0), Size(80, 24)))[0]

    assert title.split()[:5] == ["bgtop", "›", "queue", "mail", "there"]


def test_the_selected_row_stands_out_only_where_the_focus_is() -> None:
    size = Size(120, 24)
    screen = layout(page_of(usual_frame(), Ui(size=size), T0), size)

    marked = [
        "".join(span.text for span in line if span.style is Style.SELECTED)
        for line in screen.lines
        if any(span.style is Style.SELECTED for span in line)
    ]
    assert len(marked) == 1
    assert marked[0].strip().startswith("billing")


def test_lines_that_did_not_fit_are_counted() -> None:
    sources = [source(None, f"s{number}") for number in range(9)]
    size = Size(80, 24)

    lines = texts(layout(page_of(frame(*sources), Ui(size=size), T0), size))

    assert [line for line in lines if "WAIT" in line][-1].startswith(" WAIT  (+6 more) s2:")


def test_a_long_filter_shows_its_end_and_the_cursor_behind_it() -> None:
    size = Size(60, 12)
    ui = Ui(size=size, editing=Editing(text="a" * 100 + "END", before=""))

    screen = layout(page_of(usual_frame(), ui, T0), size)

    assert screen.cursor is not None
    row, column = screen.cursor
    assert row == 11
    assert texts(screen)[row][:column].endswith("aEND")


def test_wide_letters_do_not_shift_the_columns() -> None:
    size = Size(80, 24)
    seen = frame(source(queues("日本語", "plain")))

    lines = texts(layout(page_of(seen, Ui(size=size), T0), size))

    ends = [width(line.rstrip()) for line in lines if line.startswith((" 日", " plain"))]
    assert len(ends) == 2
    assert len(set(ends)) == 1
