"""Keys change the state of a screen; the selection stays with its row."""

from __future__ import annotations

from dataclasses import replace

import pytest
from frames import (
    ANY_SIGHT,
    INFO,
    T0,
    frame,
    looked_into,
    queues,
    some_jobs,
    source,
    usual_frame,
)
from hypothesis import given
from hypothesis import strategies as st

from bgtop.actions import JOB_VERBS, CancelJob, PurgeQueue, Verb
from bgtop.contracts import Interest, Size
from bgtop.model import Failure, Frame, QueueReading, Reading, WorkerReading
from bgtop.view.commands import COMMANDS
from bgtop.view.keys import enter, follow, reduce
from bgtop.view.layout import layout
from bgtop.view.pages import PAGES, focus_of, interest_of, page_of
from bgtop.view.pages.job import wrapped
from bgtop.view.pages.overview import QUEUES, WORKERS
from bgtop.view.subjects import failed_jobs
from bgtop.view.text import clean, width
from bgtop.view.ui import Copy, Editing, Pace, Perform, Quit, Ui, Visit

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
TYPED = [*"(a![:>9d", "backspace", "ctrl+u", "resize", "y", "t", "wheelup", "wheeldown"]
CLICKS = st.builds(
    "{} {} {}".format,
    st.sampled_from(["click", "wheelup", "wheeldown"]),
    st.integers(0, 150),
    st.integers(0, 60),
)


@given(
    st.lists(ANY_SIGHT, min_size=1, max_size=4),
    st.lists(st.sampled_from([*KEYS, *TYPED]) | CLICKS, max_size=60),
    st.integers(1, 150),
    st.integers(1, 60),
    st.booleans(),
)
def test_any_keys_over_any_data_give_a_page(
    frames: list[Frame], keys: list[str], columns: int, rows: int, read_only: bool
) -> None:
    size = Size(columns, rows)
    ui = Ui(size=size, read_only=read_only)
    for number, key in enumerate(keys):
        seen = frames[number % len(frames)]
        ui, effects = reduce(follow(ui, seen), key, seen)
        page = page_of(seen, ui, T0)

        assert not (read_only and any(isinstance(effect, Perform) for effect in effects))
        assert len(layout(page, size).lines) == rows
        assert len([table for table in page.tables if table.focused]) == 1
        for table in page.tables:
            assert (table.selected is None) == (table.total == 0)
            assert len(table.rows) <= table.total - table.first
            if table.rows and table.selected is not None:
                assert table.first <= table.selected < table.first + len(table.rows)
            ids = [row.id for row in table.rows]
            assert len(ids) == len(set(ids))


def test_commands_do_not_depend_on_the_size_being_known() -> None:
    assert selected(typed(["pgdn"], replace(SCREEN, size=None))) == "q10"


def test_every_command_has_something_to_do() -> None:
    """Each of its keys changes the screen or has an effect, somewhere."""
    first = typed([])
    screens = [first, typed(["j"]), typed(["/", "q", "enter"]), typed(["enter"]), typed([" "])]
    idle = {
        (command.name, key)
        for command in COMMANDS
        for key in command.keys
        if all(reduce(ui, key, many()) == (ui, ()) for ui in screens)
    }

    assert idle == set()


def test_enter_goes_in_and_escape_comes_back_to_the_row() -> None:
    ui = typed(["j", "j", "enter"])
    assert (ui.visit.page, ui.visit.subject) == ("queue", ("a", "q02"))

    ui = typed(["esc"], ui)
    assert (ui.visit.page, selected(ui)) == ("overview", "q02")


def test_escape_drops_the_filter_first() -> None:
    ui = typed(["enter", "/", "x", "enter", "esc"])
    assert ui.visit.page == "queue"

    assert typed(["esc"], ui).visit.page == "overview"


def test_q_goes_back_before_it_quits() -> None:
    ui = typed(["enter", "q"])
    assert ui.visit.page == "overview"

    assert reduce(ui, "q", many())[1] == (Quit(),)


def test_a_page_is_as_it_was_left() -> None:
    ui = typed(["j", "2", "1"])

    assert selected(ui) == "q01"


def test_going_in_without_end_keeps_memory_bounded() -> None:
    ui = SCREEN
    for _ in range(200):
        ui = enter(ui, Visit(page="queue", subject=("a", "q01")))

    assert len(ui.stack) == 50


@pytest.mark.parametrize(
    ("typed_text", "page"),
    [
        ("tasks", "tasks"),
        ("t", "tasks"),
        ("queue q07", "queue"),
        ("worker w3", "worker"),
        ("job 17", "job"),
        ("", "overview"),
        ("nonsense", "overview"),
        ("queue nonsense", "overview"),
        ("queue", "overview"),
    ],
)
def test_going_to_a_page_by_its_name(typed_text: str, page: str) -> None:
    ui = typed([":", *typed_text, "enter"])

    assert ui.visit.page == page
    assert (ui.notice is not None) == (page == "overview")


def test_names_are_completed() -> None:
    ui = typed([":", "q", "u", "e", "tab", "q", "4", "tab"])
    assert ui.editing is not None
    assert ui.editing.text == "queue q4"

    ui = typed([":", "q", "tab"])
    assert ui.editing is not None
    assert ui.editing.text == "qu", "queue or quit"


def test_quit_and_help_have_names_too() -> None:
    assert typed([":", "h", "enter"]).help
    for word in (":quit", ":q", ":q!"):
        assert reduce(typed(word), "enter", many())[1] == (Quit(),)
    assert typed([*":q 4", "enter"]).visit.page == "queue"


def test_sorting_goes_round_and_can_be_turned() -> None:
    seen = usual_frame()
    ui = typed([">", ">"], seen=seen)
    assert [row.id[1] for row in page_of(seen, ui, T0).tables[0].rows][:2] == ["webhooks", "push"]

    ui = typed(["i"], ui, seen)
    assert [row.id[1] for row in page_of(seen, ui, T0).tables[0].rows][:2] == ["billing", "default"]

    ui = typed(["<", "<"], ui, seen)
    sort = page_of(seen, ui, T0).tables[0].sort
    assert sort is not None
    assert sort[0] == "note"


def test_the_unknown_comes_last_whichever_the_order() -> None:
    known = [
        QueueReading(name=name, depth=depth) for name, depth in (("a", 1), ("b", None), ("c", 2))
    ]
    seen = frame(source(Reading(taken_at=T0, queues=tuple(known))))

    for keys, order in (([">", ">"], ["c", "a", "b"]), ([">", ">", "r"], ["a", "c", "b"])):
        rows = page_of(seen, typed(keys, seen=seen), T0).tables[0].rows
        assert [row.id[1] for row in rows] == order


def test_marks_stay_with_their_rows() -> None:
    ui = typed([" ", " ", "j"])
    assert ui.pane(QUEUES).marks == {("a", "q00"), ("a", "q01")}

    ui = typed(["g", " "], ui)
    assert ui.pane(QUEUES).marks == {("a", "q01")}
    assert typed(["U"], ui).pane(QUEUES).marks == frozenset()


def test_marking_all_marks_what_the_filter_shows() -> None:
    ui = typed(["/", "4", "2", "enter", "*", "esc"])

    assert ui.pane(QUEUES).marks == {("a", "q42")}


def test_following_stays_at_the_first_row() -> None:
    ui = typed(["j", "F"])
    assert selected(ui) == "q00"
    seen = frame(source(queues("a", *NAMES)))
    assert selected(follow(ui, seen), seen) == "a"

    assert not typed(["j"], ui).pane(QUEUES).follow


def test_the_pace_has_bounds() -> None:
    ui = replace(SCREEN, interval=60.0)
    assert reduce(ui, "+", many()) == (ui, ())
    ui, effects = reduce(ui, "-", many())
    assert (ui.interval, effects) == (30.0, (Pace(30.0),))
    ui = replace(SCREEN, interval=3.3)
    assert reduce(ui, "+", many())[0].interval == 5.0
    assert reduce(ui, "-", many())[0].interval == 2.0


def test_more_jobs_are_asked_for_within_bounds() -> None:
    ui = typed("4")
    limits = []
    for _ in range(4):
        asked = interest_of(ui, "a", Interest()).jobs
        assert asked is not None
        limits.append(asked.limit)
        ui = typed("m", ui)

    assert limits == [100, 1000, 10_000, 10_000]


def test_a_name_is_copied_as_it_is() -> None:
    seen = frame(source(queues("a\nb\x1b")))
    ui, effects = reduce(SCREEN, "y", seen)

    assert effects == (Copy("a\nb\x1b"),)
    assert ui.notice is not None
    assert ui.notice.text.isprintable()


def able(*verbs: Verb, system: str = "celery") -> Frame:
    """The queues of a system that can do this."""
    [seen] = many().snapshot.sources
    return frame(replace(seen, info=replace(INFO, system=system, verbs=frozenset(verbs))))


def test_what_a_system_cannot_do_is_said_and_not_asked() -> None:
    ui = typed("P", seen=able(Verb.RETRY))

    assert ui.asking is None
    assert ui.notice is not None
    assert ui.notice.text == "celery: purge is not supported"
    assert "P" not in [hint.key for hint in page_of(able(), SCREEN, T0).hints]
    assert "P" in [hint.key for hint in page_of(able(Verb.PURGE), SCREEN, T0).hints]


def test_what_is_asked_is_done_after_a_yes() -> None:
    seen = able(Verb.PURGE, Verb.PAUSE)
    ui = typed(["j", "P"], seen=seen)

    assert reduce(ui, "n", seen)[1] == ()
    after, effects = reduce(ui, "y", seen)
    assert effects == (Perform("a", PurgeQueue(queue="q01")),)
    assert after.asking is None


def test_marks_that_are_filtered_away_are_left_alone_and_counted() -> None:
    seen = able(Verb.PURGE)
    ui = typed([*"  /q01", "enter", "P"], seen=seen)

    assert ui.asking is not None
    assert ui.asking.deeds == (Perform("a", PurgeQueue(queue="q01")),)
    assert "1 more marked, but not shown: left alone" in ui.asking.lines


def test_marks_of_which_none_is_shown_are_said_and_not_acted_on() -> None:
    ui = typed([*"  /q3", "enter", "P"], seen=able(Verb.PURGE))

    assert ui.asking is None
    assert ui.notice is not None
    assert ui.notice.text == "purge: none of the 2 marked rows is shown; U unmarks"


def test_what_is_down_comes_before_what_is_merely_to_be_known() -> None:
    seen = looked_into(jobs=some_jobs(failed_jobs(Visit())))
    [one] = seen.snapshot.sources
    down = replace(one, failure=Failure(message="refused", since=T0))
    seen = replace(seen, snapshot=replace(seen.snapshot, sources=(down,)))

    tags = [status.tag for status in page_of(seen, typed("4", seen=seen), T0).statuses]

    assert tags == ["DOWN", "MORE"]


def test_marks_at_a_system_that_cannot_are_told() -> None:
    one = able(Verb.PURGE).snapshot.sources[0]
    two = replace(able(system="rq").snapshot.sources[0], name="b")
    seen = frame(one, two)
    ui = typed(["*", "P"], seen=seen)

    assert ui.asking is not None
    assert len(ui.asking.deeds) == 50
    assert "not at rq, where it is not supported: 50" in ui.asking.lines


def test_a_signal_is_chosen_in_the_question() -> None:
    seen = looked_into(jobs=some_jobs(failed_jobs(Visit())))
    ui = typed(["4", "K", "k"], seen=seen)

    assert ui.asking is not None
    _, effects = reduce(ui, "y", seen)
    assert effects == (Perform("a", CancelJob(id="beef42", terminate=True, signal="SIGKILL")),)


def test_who_may_only_look_has_no_keys_that_change_anything() -> None:
    seen = able(*Verb)
    ui = replace(SCREEN, read_only=True)
    changing = [command for command in COMMANDS if command.verbs]
    shown = [hint.key for hint in page_of(seen, ui, T0).hints]
    overlay = page_of(seen, replace(ui, help=True), T0).overlay

    assert overlay is not None
    assert page_of(seen, replace(ui, interval=2.0), T0).corner == "read-only · every 2s"
    for command in changing:
        assert reduce(ui, command.keys[0], seen) == (ui, ())
        assert command.shown not in shown
        assert (command.shown, command.words) not in overlay.rows
    steered = {Verb.GROW, Verb.SHRINK, Verb.SHUTDOWN}
    assert {verb for command in changing for verb in command.verbs} == JOB_VERBS | steered


@pytest.mark.parametrize("name", PAGES)
def test_what_a_page_fetches(name: str) -> None:
    usual = Interest(internal=True)
    ui = SCREEN.at(Visit(page=name, subject=("a", "x")))
    wanted = interest_of(ui, "a", usual)

    assert wanted.internal
    assert wanted.checkup == (name == "findings")
    asked = (wanted.jobs is not None, wanted.task_types, wanted.schedules)
    assert asked == {
        "tasks": (False, True, False),
        "schedules": (False, False, True),
        **dict.fromkeys(("failures", "queue", "worker", "job"), (True, False, False)),
    }.get(name, (False, False, False))
    if name in {"queue", "worker", "job"}:
        assert interest_of(ui, "other", usual) == usual


@given(st.text(max_size=300), st.integers(1, 60))
def test_long_texts_are_wrapped_and_nothing_is_lost(text: str, cells: int) -> None:
    lines = list(wrapped(text, max(2, cells)))

    assert lines
    assert all(width(line) <= max(2, cells) for line in lines)
    whole = "".join([clean(line, 10_000) for line in text.expandtabs(4).splitlines()])
    assert "".join(lines) == whole
