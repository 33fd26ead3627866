"""The commands of bgtop: what each is called, the module that has it, and what it is for."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    import argparse

    from bgtop.cli.options import Parser


class Command(NamedTuple):
    """A word of the command line; ``module`` is one of this package."""

    name: str
    module: str
    summary: str


LIVE: Final = Command("", "live", "the live view")

COMMANDS: Final = (
    Command("snapshot", "snapshot", "one reading as text, JSON or CSV"),
    Command("queues", "lists", "queues, filtered and sorted, as text, JSON or CSV"),
    Command("workers", "lists", "workers, likewise"),
    Command("tasks", "lists", "single jobs, or figures by task"),
    Command("task", "lists", "one job, whole"),
    Command("schedules", "lists", "what runs by the clock"),
    Command("check", "check", "a Nagios plug-in: thresholds, one line, exit status 0 to 3"),
    Command("wait", "wait", "wait until a queue is empty, or short enough"),
    Command("doctor", "doctor", "what is not well, and what mends it"),
    Command("record", "record", "write what the sources tell into a file"),
    Command("replay", "replay", "show a recording as the live view showed it"),
    Command("export", "export", "numbers for Prometheus, StatsD, Graphite, OpenTelemetry"),
    Command("retry", "actions", "let jobs that failed run again"),
    Command("cancel", "actions", "keep jobs from running, or stop them"),
    Command("delete", "actions", "forget jobs"),
    Command("requeue", "actions", "let all failed jobs run again"),
    Command("purge", "actions", "delete the jobs that wait in a queue"),
    Command("pause", "actions", "let no worker take jobs of a queue"),
    Command("resume", "actions", "undo a pause"),
    Command("worker", "steering", "tell a worker: shutdown, grow, shrink, add-queue ..."),
    Command("limit", "steering", "limit how often, or how long, a task runs"),
    Command("send", "steering", "put a new job into a queue"),
    Command("abort", "steering", "ask jobs to end by themselves"),
    Command("inspect", "inspect", "ask workers what they know, now"),
    Command("web", "web", "pages for browsers, and an interface for programs"),
    Command("init", "init", "asks, tests the connection, writes ~/.bgtoprc"),
    Command("completion", "completion", "a script that completes commands in a shell"),
    Command("man", "man", "the manual page"),
    Command("plugins", "plugins", "the job systems, renderers and exporters that can be used"),
    Command("demo", "demo", "a queue made for looking around, with bgtop watching it"),
)


class Family(Protocol):
    """What a module with commands has; one module may have several commands."""

    def parser(self, name: str, /) -> Parser:
        """What reads the arguments of the command of this name."""
        ...

    def run(self, name: str, options: argparse.Namespace, /) -> int:
        """Carry it out; the exit status."""
        ...


def command_named(word: str) -> Command | None:
    """The command of this name."""
    return next((command for command in COMMANDS if command.name == word), None)


def family_of(command: Command) -> Family:
    """The module of a command, imported only now: most are never called."""
    module = f"bgtop.cli.{command.module}"
    __import__(module)
    return cast("Family", sys.modules[module])


def listed(commands: Iterable[Command] = COMMANDS) -> str:
    """The commands as ``--help`` lists them."""
    return "".join(f"    {name:<12}{summary}\n" for name, _, summary in commands)
