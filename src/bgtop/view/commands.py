"""What each key does, in words: for the help, the key bar and the documents."""

from __future__ import annotations

from typing import Final

from bgtop.actions import Verb
from bgworker.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One thing keys do outside a line that is typed: how it is called, shown and explained.

    ``hint`` is its word in the key bar. ``verbs`` are what it does to a system that is watched.
    """

    name: str
    keys: tuple[str, ...]
    shown: str
    words: str
    hint: str = ""
    verbs: tuple[Verb, ...] = ()


def _command(name: str, keys: str, shown: str, words: str, hint: str = "") -> Command:
    """Keys are separated by blanks."""
    return Command(name=name, keys=tuple(keys.split()), shown=shown, words=words, hint=hint)


def _action(name: str, key: str, words: str, hint: str, *verbs: Verb) -> Command:
    return Command(name=name, keys=(key,), shown=key, words=words, hint=hint, verbs=verbs)


COMMANDS: Final = (
    _command("up", "up k", "↑ k", "one row up"),
    _command("down", "down j", "↓ j", "one row down", "Move"),
    _command("page up", "pgup", "PgUp", "one page up"),
    _command("page down", "pgdn", "PgDn", "one page down"),
    _command("first", "home g", "Home g", "first row"),
    _command("last", "end G", "End G", "last row"),
    _command("open", "enter right", "Enter →", "look inside the row", "Open"),
    _command("back", "esc left", "Esc ←", "drop the filter, else go back", "Back"),
    _command("other table", "tab backtab", "Tab", "the other table", "Table"),
    _command("jump", "1 2 3 4 5 6", "1-6", "the pages in the line above", "Page"),
    _command("go", ":", ":", "go to a page by its name; :queue x", "Go"),
    _command("filter", "/", "/", "filter: mail !bulk depth>9", "Filter"),
    _command("sort left", "<", "<", "sort by the column to the left"),
    _command("sort right", ">", ">", "sort by the column to the right", "Sort"),
    _command("reverse", "i r", "i r", "turn the order round"),
    Command(name="mark", keys=(" ",), shown="Space", words="mark the row", hint="Mark"),
    _command("mark all", "*", "*", "mark all rows shown"),
    _command("unmark", "U", "U", "unmark all"),
    _command("pause", "p Z", "p Z", "let the picture stand still"),
    _command("follow", "F", "F", "stay at the first row"),
    _command("more", "m", "m", "list more jobs: 1000, 10000"),
    _command("slower", "+", "+", "read less often"),
    _command("faster", "-", "-", "read more often"),
    _command("read now", "ctrl+r", "Ctrl-R", "read all sources now"),
    _command("copy", "y", "y", "copy the row's name or id"),
    _action("retry", "R", "retry jobs", "Retry", Verb.RETRY),
    _action("cancel", "C", "cancel jobs that do not run", "Cancel", Verb.CANCEL),
    _action("kill", "K", "cancel jobs even if they run", "Kill", Verb.CANCEL),
    _action("delete", "D", "delete jobs", "Delete", Verb.DELETE),
    _action("requeue", "Q", "retry all that failed", "Requeue", Verb.REQUEUE),
    _action("purge", "P", "delete all that wait in a queue", "Purge", Verb.PURGE),
    _action("suspend", "S", "pause a queue", "Pause", Verb.PAUSE),
    _action("again", "A", "let a paused queue go on", "Resume", Verb.RESUME),
    _action("grow", "N", "a worker runs 1 job more", "Grow", Verb.GROW),
    _action("shrink", "L", "a worker runs 1 job less", "Shrink", Verb.SHRINK),
    _action("shutdown", "X", "shut a worker down", "Shutdown", Verb.SHUTDOWN),
    _command("help", "? f1", "? F1", "this help", "Help"),
    _command("quit", "q", "q", "back; on a first page: quit", "Quit"),
)
"""All of them, in the order of the help."""

BY_KEY: Final = {key: command for command in COMMANDS for key in command.keys}

_BAR: Final = (
    *("help", "filter", "other table", "open", "quit", "jump", "sort right", "mark", "down"),
    *("retry", "cancel", "kill", "delete", "requeue", "purge", "suspend", "again"),
    *("grow", "shrink", "shutdown", "go"),
)
_BAR_KEYS: Final = {"down": "↑↓", "jump": "1-6", "sort right": "<>", "help": "?", "open": "Enter"}


def bar_key(command: Command) -> str:
    """What stands for a command in the key bar."""
    return _BAR_KEYS.get(command.name, command.shown)


def in_bar(command: Command) -> int | None:
    """The place of a command in the key bar, if it has one."""
    return _BAR.index(command.name) if command.name in _BAR else None
