"""Pages that have everything a renderer must be able to show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bgtop.page import (
    Cell,
    Column,
    Dialog,
    Fact,
    Hint,
    Overlay,
    Page,
    Prompt,
    Row,
    Status,
    Tab,
    Table,
    Tone,
)
from bgworker.values import replace

HOSTILE_TEXTS: Final = (
    "[bold red]x[/]",
    "[link=http://e]y",
    ":smile: *a* `b`",
    "%s {0} $x <b>&",
    r"red\x1b[31m",
    r"c1\x9bcontrol",
    "日本語-全角",
    "é-accents",
    "\U0001f680-rocket",
    "x" * 200,
)
"""Names as a page has them: made harmless already, and still not to be interpreted."""

_QUEUES: Final = (
    Column(key="name", title="QUEUE", least=12, most=30, right=False),
    Column(key="depth", title="DEPTH", least=6, most=7),
    Column(key="load", title="LOAD", least=6, most=6, rank=3, right=False),
    Column(key="oldest", title="OLDEST", least=7, most=7, rank=2),
)
_WORKERS: Final = (
    Column(key="name", title="WORKER", least=12, most=30, right=False),
    Column(key="state", title="STATE", least=7, most=7, right=False),
)


def _queue(number: int, name: str) -> Row:
    tone = list(Tone)[number % len(Tone)]
    load = "█" * (number % 7) + "·" * (6 - number % 7)
    cells = (Cell(name), Cell(str(number * 37), tone), Cell(load, Tone.GOOD), Cell("–", Tone.FAINT))
    return Row(id=("a", name), cells=cells, stale=number % 5 == 4, marked=number % 4 == 1)


def _worker(number: int) -> Row:
    name = f"worker-{number}"
    return Row(id=("a", name), cells=(Cell(name), Cell("active", Tone.GOOD)))


_NAMES: Final = (*HOSTILE_TEXTS, *[f"queue-{number:02}" for number in range(90)])
_TABLE: Final = Table(
    key="queues",
    columns=_QUEUES,
    rows=tuple(_queue(number, name) for number, name in enumerate(_NAMES)),
    total=len(_NAMES),
    selected=2,
    focused=True,
    note=f"3/{len(_NAMES)}",
    sort=("depth", True),
)
_USUAL: Final = Page(
    title=(Cell("bgtop", Tone.STRONG), Cell("renderers"), Cell(HOSTILE_TEXTS[0])),
    corner="every 5s",
    tabs=(Tab("1", "Overview", active=True), Tab("2", "Tasks")),
    totals=(Fact("Queues", Cell("100")), Fact("Failed", Cell("3", Tone.BAD))),
    tables=(
        _TABLE,
        Table(
            key="workers",
            columns=_WORKERS,
            rows=tuple(_worker(number) for number in range(5)),
            total=5,
        ),
    ),
    statuses=(
        Status("DOWN", Tone.BAD, "connection refused by [red]h[/]:6379"),
        Status("OK", Tone.GOOD, "another source"),
    ),
    hints=(Hint("?", "Help"), Hint("/", "Filter"), Hint("q", "Quit")),
)
_NO_ROWS: Final = replace(_TABLE, rows=(), total=0, selected=None, empty="no queues [b]yet[/b]")

SAMPLE_PAGES: Final[Mapping[str, Page]] = {
    "usual": _USUAL,
    "other table": replace(
        _USUAL,
        tables=(
            replace(_TABLE, focused=False),
            replace(_USUAL.tables[1], focused=True, selected=1),
        ),
    ),
    "one table": replace(_USUAL, tables=(_TABLE,)),
    "no rows": replace(_USUAL, tables=(_NO_ROWS, replace(_USUAL.tables[1], rows=(), empty="none"))),
    "banner": replace(_USUAL, banner=Status("PAUSED", Tone.INFO, "the picture stands still")),
    "typing": replace(_USUAL, prompt=Prompt("filter queues", "日本 [x", "what is wrong")),
    "dialog": replace(
        _USUAL,
        dialog=Dialog(
            "Delete [bold]all[/bold]?",
            ("12 jobs at the moment", HOSTILE_TEXTS[4]),
            (Hint("y", "Yes"), Hint("n", "No")),
            Tone.BAD,
        ),
    ),
    "overlay": replace(
        _USUAL, overlay=Overlay("help", (("q", "quit"), ("", ""), ("[x]", HOSTILE_TEXTS[0])))
    ),
    "nearly nothing": Page(title=(Cell("bgtop"),)),
}
"""By a word that says what is special about each."""
