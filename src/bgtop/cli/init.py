"""``bgtop init``: asks, tests the connection, and writes a configuration file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from bgtop.cli.options import Parser, new_parser
from bgtop.cli.settings import complain
from bgtop.config import Arguments, Config, ConfigError, load_config
from bgtop.contracts import BackendError
from bgtop.counted import counted
from bgtop.registry import PluginError
from bgtop.source_url import redacted, scheme_of

if TYPE_CHECKING:
    import argparse

    from bgtop.model import Frame

_USUAL: Final = "redis://localhost:6379/0"


class _Ended(Exception):
    """Nobody answers any more."""


def parser(_: str) -> Parser:
    """What reads the arguments."""
    made = new_parser(
        "bgtop init",
        "Ask what to watch, test the connection, and write the configuration file.",
        usage="bgtop init [--config FILE] [--profile NAME] [--url URL] [--yes]",
        epilog="exit status: 0 written, 1 declined or not reachable, 2 wrong usage\n",
    )
    made.add_argument("--config", metavar="FILE", help="write this file instead of ~/.bgtoprc")
    made.add_argument("--profile", metavar="NAME", help="add a profile instead of [DEFAULT]")
    made.add_argument("--url", metavar="URL", help="what to watch, instead of asking")
    words = "take every suggestion; a file that is there gets another section, or is kept as it is"
    made.add_argument("--yes", action="store_true", help=words)
    made.add_argument("--verbose", action="store_true", help="show tracebacks of faults")
    return made


def run(_: str, options: argparse.Namespace) -> int:
    """Ask, test and write; the exit status."""
    if not options.yes and not sys.stdin.isatty():
        complain("nobody can be asked here: give --url URL and --yes")
        return 2
    try:
        return _conversation(options)
    except _Ended:
        complain("nothing was written")
        return 1


def _conversation(options: argparse.Namespace) -> int:
    path = os.path.expanduser(options.config or "~/.bgtoprc")
    before = _existing(path)
    section = options.profile or "DEFAULT"
    if before is not None and f"[{section}]" in before.split("\n"):
        complain(f"{path} has a section [{section}]: name another one by --profile, or edit it")
        return 1
    url = options.url or _ask("What to watch (a URL)", _USUAL, options)
    while (fault := _tested(url)) is not None:
        complain(fault)
        if options.url or options.yes:
            return 1
        if _ask("Write it all the same", "no", options).lower() in {"y", "yes"}:
            break
        url = _ask("What to watch (a URL)", url, options)
    interval = _ask("Seconds between two readings", "5", options)
    lines = [f"[{section}]", f"url = {url}", f"refresh_interval = {interval}"]
    if _ask("Allow changes (retry, cancel, purge …)", "yes", options).lower() not in {"y", "yes"}:
        lines.append("read_only = yes")
    sys.stdout.write("\n" + "\n".join(redacted(line) for line in lines) + "\n\n")
    if _ask(f"Write this to {path}", "yes", options).lower() not in {"y", "yes"}:
        raise _Ended
    return _written(path, before, "\n".join(lines) + "\n")


def _ask(words: str, usual: str, options: argparse.Namespace) -> str:
    if options.yes:
        return usual
    sys.stdout.write(f"{words} [{redacted(usual)}]: ")
    sys.stdout.flush()
    answer = sys.stdin.readline()
    if not answer:
        raise _Ended
    return answer.strip() or usual


def _existing(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as fault:
        raise ConfigError(f"{path}: {(fault.strerror or 'cannot be read').lower()}") from None


def _tested(url: str) -> str | None:
    """What keeps this address from being watched; says what was found where nothing does."""
    from bgtop.cli.feeds import Faults, open_feeds
    from bgtop.oneshot import Wanted, take_frame

    if not scheme_of(url):
        return f"{url!r} is not a URL, such as {_USUAL} or sqlite:///jobs.db"
    try:
        config: Config = load_config(Arguments(sources=[url]), {"HOME": os.devnull})
        frame = take_frame(open_feeds(config), config, Wanted(), report=Faults().report)
    except (ConfigError, PluginError, BackendError) as fault:
        return str(fault)
    failed = [s.failure.message for s in frame.snapshot.sources if s.failure is not None]
    if failed:
        return failed[0]
    sys.stdout.write(f"connected: {_found(frame)}\n")
    return None


def _found(frame: Frame) -> str:
    found = [
        f"{source.info.system} with {counted(len(source.reading.queues), 'queue')} and "
        f"{counted(len(source.reading.workers), 'worker')}"
        for source in frame.snapshot.sources
        if source.reading is not None and source.info.system is not None
    ]
    return ", ".join(found) or "no job system was ever used there, which may be as it should"


def _written(path: str, before: str | None, text: str) -> int:
    """Write beside and rename: what was there stays whole, and a password is for its owner."""
    if before:
        text = before + ("" if before.endswith("\n") else "\n") + "\n" + text
    draft = f"{path}.new-{os.getpid()}"
    mode = 0o600
    if before is not None:
        mode = os.stat(path).st_mode & 0o777 if ":***@" not in redacted(text) else 0o600
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o600)
    try:
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(draft, mode)
        os.replace(draft, os.path.realpath(path))
    except BaseException:
        os.unlink(draft)
        raise
    sys.stdout.write(f"written: {path}\n")
    return 0
