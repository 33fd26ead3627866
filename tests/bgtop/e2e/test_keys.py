"""Every key of the help does in a real terminal what the help says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from scripted_source import Script
from terminal import Terminal

from bgtop.view.commands import COMMANDS

OpenTerminal = Callable[..., Terminal]
NAMES = [f"queue-{number:02}" for number in range(60)]
JOBS = [
    {"id": "job-1", "name": "app.send", "queue": "queue-00", "enqueued": 70},
    {"id": "job-2", "name": "app.grow", "queue": "queue-00", "state": "running", "started": 3},
    {
        "id": "job-3",
        "name": "app.send",
        "queue": "queue-00",
        "state": "failed",
        "ended": 9,
        "error": "ValueError: no such user",
        "traceback": "Traceback:\n  line 7\nValueError",
        "args": "[7]",
        "parents": ["job-1"],
    },
]
TYPES = [{"name": "app.send", "succeeded": 9, "failed": 1, "exceptions": {"ValueError": 1}}]
BEAT = [{"name": "nightly", "rule": "0 3 * * *", "next": -3600, "last": 82_800}]


@pytest.fixture
def terminal(open_terminal: OpenTerminal, script: Script) -> Terminal:
    """The live view of sixty queues and two workers, side by side."""
    workers = [
        {"name": f"worker-{number}", "beat": 1, "running": 0, "queues": ["queue-00"]}
        for number in range(2)
    ]
    script.queues(*NAMES, workers=workers, jobs=JOBS, types=TYPES, beat=BEAT)
    options = ("--interval", "0.2")
    terminal = open_terminal(script.url, *options, columns=120, rows=25, forked=True)
    terminal.wait_for("queue-00", "worker-1")
    return terminal


# The keys that are pressed, and the row that is selected then. 25 rows show 19 queues.
MOVES = {
    "down": (["down"], "queue-01"),
    "j": (["j", "j"], "queue-02"),
    "up": (["j", "j", "up"], "queue-01"),
    "k": (["j", "j", "k"], "queue-01"),
    "pgdn": (["pgdn"], "queue-19"),
    "pgup": (["pgdn", "pgdn", "pgup"], "queue-19"),
    "end": (["end"], "queue-59"),
    "G": (["G"], "queue-59"),
    "home": (["end", "home"], "queue-00"),
    "g": (["end", "g"], "queue-00"),
    "tab": (["tab", "j"], "worker-1"),
    "backtab": (["tab", "backtab", "j"], "queue-01"),
}


@pytest.mark.parametrize("key", MOVES)
def test_moves(key: str, terminal: Terminal) -> None:
    keys, row = MOVES[key]

    terminal.press(*keys)

    terminal.wait(lambda: row in terminal.selected())


# The keys that are pressed, what has to be seen in between, and what is on the screen then.
SIGHTS = {
    "enter": (["enter"], ["› queue queue-00", "job-1", "app.grow", "ValueError"]),
    "right": (["tab", "right"], ["› worker worker-0", "State idle"]),
    "left": (["enter", "see › queue", "left"], ["QUEUE 1/60"]),
    "1": (["2", "see [2 Tasks]", "1"], ["[1 Overview]", "QUEUE 1/60"]),
    "2": (["2"], ["[2 Tasks]", "app.send", "10%", "ValueError"]),
    "3": (["3"], ["[3 Schedules]", "nightly", "0 3 * * *", "in 1h00m"]),
    "4": (["4"], ["[4 Failures]", "job-3", "ValueError: no such user"]),
    "5": (["5"], ["[5 Sources]", "script.json", "45"]),
    "6": (["6"], ["[6 Findings]", "nothing found to be wrong"]),
    ":": ([":", "que", "tab", "queue-07", "enter"], ["› queue queue-07", "no single jobs"]),
    "<": (["<", "<"], ["↓MEAN"]),
    ">": ([">", ">"], ["↓DEPTH"]),
    "i": (["i"], ["QUEUE↓ 1/60", " queue-59"]),
    "r": (["r", "see QUEUE↓ 1/60", "r"], ["QUEUE↑ 1/60", " queue-00"]),
    " ": ([" ", "see QUEUE 2/60 *1", " "], ["QUEUE 3/60 *2", "*queue-00", "*queue-01"]),
    "*": (["*"], ["QUEUE 1/60 *60", "*queue-18"]),
    "U": (["*", "see *60", "U"], ["QUEUE 1/60 "]),
    "p": (["p"], ["PAUSED  the picture stands still"]),
    "Z": (["Z"], ["PAUSED  the picture stands still"]),
    "F": (["G", "F"], ["QUEUE 1/60 F"]),
    "m": (["4", "see job-3", "m"], ["job-3", "1000 of each state"]),
    "+": (["+"], ["every 0.5s"]),
    "-": (["-"], ["every 0.1s"]),
    "ctrl+r": (["ctrl-r"], ["READ  all sources, now"]),
    "y": (["j", "y"], ["COPY  queue-01"]),
    "R": (
        ["4", "see job-3", "R"],
        ["Retry job app.send job-3?", "y Yes", "at scripted scripted://:***@"],
    ),
    "C": (["enter", "see job-1", "C"], ["Cancel job app.send job-1?"]),
    "K": (
        ["enter", "see job-2", "j", "K", "k"],
        ["Cancel, even while running, job app.grow", "by SIGKILL"],
    ),
    "D": (["4", "see job-3", "D"], ["Delete job app.send job-3?"]),
    "Q": (["Q"], ["Retry all failed and dead jobs of queue queue-00?"]),
    "P": (["P"], ["Delete all jobs that wait in queue queue-00?", "1 job at the moment"]),
    "S": (["S"], ["Pause queue queue-00?"]),
    "A": (["A"], ["Resume queue queue-00?"]),
    "N": (["tab", "N"], ["Add one to the pool of worker worker-0?"]),
    "L": (["tab", "L"], ["Take one from the pool of worker worker-0?"]),
    "X": (["tab", "X"], ["Shut down worker worker-0?"]),
}


@pytest.mark.parametrize("key", SIGHTS)
def test_sights(key: str, terminal: Terminal) -> None:
    keys, texts = SIGHTS[key]

    for one in keys:
        if one.startswith("see "):
            terminal.wait_for(one.removeprefix("see "))
        else:
            terminal.press(one)

    terminal.wait_for(*texts)


def test_the_keys_of_the_help_are_all_tried_here() -> None:
    documented = {key for command in COMMANDS for key in command.keys}

    tried = {*MOVES, *SIGHTS, "/", "esc", "?", "f1", "q"}
    assert documented - tried == set()


def done(script: Script) -> list[str]:
    path = script.path.with_name(f"{script.path.name}.done")
    return path.read_text().splitlines() if path.exists() else []


def test_what_is_confirmed_is_done_and_its_outcome_told(terminal: Terminal, script: Script) -> None:
    terminal.press(" ", " ", "P")
    terminal.wait_for("Delete all jobs that wait in 2 queues?", "2 jobs at the moment")

    terminal.press("y")

    terminal.wait_for("DONE  purge 2 of 2: 2 changed")
    assert done(script) == ["PurgeQueue(queue='queue-00')", "PurgeQueue(queue='queue-01')"]


def test_what_is_done_is_in_the_audit_log(
    open_terminal: OpenTerminal, script: Script, tmp_path: Path
) -> None:
    script.queues("mail")
    log = tmp_path / "state/bgtop/audit.log"
    terminal = open_terminal(script.url, XDG_STATE_HOME=str(tmp_path / "state"))
    terminal.wait_for("mail")
    assert not log.exists(), "who only watches leaves nothing behind"

    terminal.press("P", "y")

    terminal.wait_for("DONE  purge mail")
    [line] = log.read_text().splitlines()
    record = json.loads(line)
    assert (record["by"], record["action"]) == ("screen", {"verb": "purge", "queue": "mail"})
    assert (record["outcome"], record["changed"]) == ("done", 1)


def test_what_cannot_be_written_down_is_not_done(
    open_terminal: OpenTerminal, script: Script, tmp_path: Path
) -> None:
    script.queues("mail")
    (tmp_path / "state").write_text("no folder")
    terminal = open_terminal(script.url, XDG_STATE_HOME=str(tmp_path / "state"), columns=160)
    terminal.wait_for("mail")

    terminal.press("P", "y")

    terminal.wait_for("FAILED  purge mail: audit log")
    assert done(script) == []


def test_read_only_takes_the_keys_away(open_terminal: OpenTerminal, script: Script) -> None:
    script.queues("mail")
    terminal = open_terminal(script.url, "--read-only", columns=160)
    terminal.wait_for("mail", "Help")
    assert "Purge" not in terminal.text

    terminal.press("P", "y", "?")

    terminal.wait_for("bgtop help")
    assert "delete all that wait" not in terminal.text
    assert done(script) == []


@pytest.mark.parametrize("answer", ["n", "N", "esc", "enter", "Y", " "])
def test_only_a_y_is_a_yes(answer: str, terminal: Terminal, script: Script) -> None:
    terminal.press("P")
    terminal.wait_for("Delete all jobs that wait")

    terminal.press(answer, "j")

    terminal.wait(lambda: "Delete all" not in terminal.text and "queue-01" in terminal.selected())
    assert done(script) == []


def test_what_is_refused_says_why(terminal: Terminal, script: Script) -> None:
    script.queues(*NAMES, jobs=JOBS, refuse="this job runs already")
    terminal.press("4")
    terminal.wait_for("job-3")
    terminal.press("R")
    terminal.wait_for("Retry job app.send job-3?")

    terminal.press("y")

    terminal.wait_for("FAILED  retry job-3: this job runs already")


def test_a_job_is_shown_whole_and_its_parents_can_be_followed(terminal: Terminal) -> None:
    terminal.press("4")
    terminal.wait_for("job-3")
    terminal.press("enter")
    terminal.wait_for("› job job-3", "arguments", "[7]", "traceback", "line 7")

    terminal.press("/", "parent", "enter", "enter")

    terminal.wait_for("› job job-1", "waiting")


def test_a_picture_that_stands_still_can_be_walked_through(
    terminal: Terminal, script: Script
) -> None:
    terminal.press("p")
    terminal.wait_for("PAUSED")
    script.queues("other")
    terminal.press("j")
    terminal.wait(lambda: "queue-01" in terminal.selected())
    assert "other" not in terminal.text

    terminal.press("p")

    terminal.wait_for("other")
    assert "PAUSED" not in terminal.text


def test_slash_filters_while_typing_and_enter_keeps(terminal: Terminal) -> None:
    terminal.press("/", "5")
    terminal.wait_for("filter queues: 5", "queue-05", "queue-59")
    assert "queue-04" not in terminal.text

    terminal.press("9")
    terminal.wait(lambda: "queue-05" not in terminal.text)

    terminal.press("enter")
    terminal.wait_for("QUEUE /59 1/1", "Help")


def test_escape_takes_back_what_was_typed_and_then_drops_the_filter(terminal: Terminal) -> None:
    terminal.press("/", "59", "enter", "/", "backspace", "8")
    terminal.wait_for("queue-58")

    terminal.press("esc")
    terminal.wait_for("QUEUE /59 1/1", "Help")

    terminal.press("esc")
    terminal.wait_for("QUEUE 1/60")


def test_an_exclamation_mark_inverts_a_filter(terminal: Terminal) -> None:
    terminal.press("/", "!queue-[0-4]")

    terminal.wait_for("queue-50", "queue-59")
    assert "queue-49" not in terminal.text


def test_a_bad_filter_is_told_in_words_and_does_no_harm(terminal: Terminal) -> None:
    terminal.press("/", "queue-5(")
    terminal.wait_for("not a pattern: missing )", "queue-50")

    terminal.press("ctrl-u")
    terminal.wait(lambda: "not a pattern" not in terminal.text)
    terminal.wait_for("queue-00")


def test_the_cursor_is_where_one_types(terminal: Terminal) -> None:
    assert terminal.screen.cursor.hidden

    terminal.press("/", "abc")
    terminal.wait_for("filter queues: abc")

    cursor = terminal.screen.cursor
    assert not cursor.hidden
    assert terminal.lines[cursor.y][: cursor.x].endswith(": abc")


def test_letters_beyond_ascii_can_be_typed(terminal: Terminal) -> None:
    terminal.press("/", "ü日")

    terminal.wait_for("filter queues: ü日")


@pytest.mark.parametrize("key", ["?", "f1"])
@pytest.mark.parametrize("closing", ["esc", "x"])
def test_help_opens_and_any_key_closes_it(key: str, closing: str, terminal: Terminal) -> None:
    terminal.press(key)
    terminal.wait_for("bgtop help", "filter: mail", "jobs waiting")
    terminal.press("pgdn", "pgdn", "pgdn")
    terminal.wait_for("since its last heartbeat", "at least")

    terminal.press(closing)
    terminal.wait_for("QUEUE 1/60")


def test_q_quits(terminal: Terminal) -> None:
    terminal.press("q")

    assert terminal.end() == 0


@pytest.mark.parametrize("key", ["\x1b[15~", "\x1bx", "x", "\x00", "\x01", "\x1b[99;99;99M"])
def test_keys_nobody_knows_do_no_harm(key: str, terminal: Terminal) -> None:
    terminal.press(key, "j")

    terminal.wait(lambda: "queue-01" in terminal.selected())


def test_a_key_nobody_knows_can_be_held_down(terminal: Terminal) -> None:
    for _ in range(60):
        terminal.press("\x1b[2~")
        terminal.read(0.005)

    terminal.press("j")
    terminal.wait(lambda: "queue-01" in terminal.selected())


def test_control_l_draws_everything_anew(terminal: Terminal) -> None:
    terminal.screen.erase_in_display(2)
    assert "queue-00" not in terminal.text

    terminal.press("ctrl-l")

    terminal.wait_for("queue-00", "worker-1", "Help")


def test_only_what_changed_is_written(terminal: Terminal) -> None:
    """The screen has some 2,800 cells; a second and a key change a few dozen."""
    terminal.wait(lambda: "data 1s old" not in terminal.text)
    written = len(terminal.written)

    terminal.press("j")
    terminal.wait(lambda: "queue-01" in terminal.selected())

    assert len(terminal.written) - written < 900


@pytest.mark.parametrize(("term", "known"), [("xterm-256color", True), ("linux", False)])
def test_a_name_goes_to_the_clipboard_of_terminals_that_have_one(
    term: str, known: bool, open_terminal: OpenTerminal, script: Script
) -> None:
    script.queues("mail")
    terminal = open_terminal(script.url, TERM=term)
    terminal.wait(lambda: b"mail" in terminal.written and b"Help" in terminal.written)

    terminal.press("y")

    terminal.wait(lambda: b"COPY" in terminal.written)
    assert (b"\x1b]52;c;bWFpbA==\x07" in terminal.written) == known
