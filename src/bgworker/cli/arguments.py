"""The arguments that commands share: how they are declared and what they may be."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any, TypeVar

from bgworker.app import DEFAULT_URL
from bgworker.model import PRIORITY_LIMIT, is_name

if TYPE_CHECKING:
    from bgworker.contracts import Engine

T = TypeVar("T")

_URL_HELP = f"the queue (default: $BGWORKER_URL, else {DEFAULT_URL})"


class Help(argparse.HelpFormatter):
    """Argparse's own, told how wide the terminal is.

    It would import ``shutil`` to ask, and with it three libraries for compression: half a megabyte
    in every worker.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, width=_columns() - 2, **options)


def _columns() -> int:
    chosen = os.environ.get("COLUMNS", "")
    if chosen.isdecimal() and int(chosen) > 0:
        return int(chosen)
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


def new_command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """A command that ``function`` carries out; its exit code is what that returns."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        formatter_class=Help,
        allow_abbrev=False,
    )
    parser.set_defaults(command=function)
    return parser


def add_target(parser: argparse.ArgumentParser) -> None:
    """Which queue, and whether to answer in JSON."""
    parser.add_argument("--url", help=_URL_HELP)
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")


def url_of(args: argparse.Namespace) -> str:
    """The queue that is meant."""
    url: str = args.url or os.environ.get("BGWORKER_URL") or DEFAULT_URL
    return url


def existing_queue(args: argparse.Namespace) -> Engine:
    """The queue that is meant, which has to be there: no change to one begins with creating it.

    Raises:
        UnusableDatabase: there is no queue in this file, or a newer one.
        QueueUnavailable: it cannot be read right now.
    """
    from bgworker.engines import open_engine
    from bgworker.report import inspector

    with closing(inspector(url_of(args))) as found:
        found.check()
    return open_engine(url_of(args))


class _Setting(str):  # noqa: SLOT000 - it has one attribute, and there are four of it
    """A default that somebody set: what is wrong with it is said of the variable."""

    variable = ""


def setting(variable: str) -> str | None:
    """What the environment says, as the default of an option whose type is made by :func:`of`."""
    text = _Setting(os.environ.get(variable, ""))
    text.variable = variable
    return text or None


def of(kind: Callable[[str], T]) -> Callable[[str], T]:
    """The type of an option that :func:`setting` may give a default."""

    def parsed(text: str) -> T:
        try:
            return kind(text)
        except argparse.ArgumentTypeError as error:
            if isinstance(text, _Setting):
                raise argparse.ArgumentTypeError(f"${text.variable}: {error}") from None
            raise

    return parsed


def count(text: str) -> int:
    """A number of children."""
    if not text.isdecimal() or len(text) > 4 or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a number from 1 to 1024")
    return int(text)


def limit(text: str) -> int:
    """How many rows to show."""
    if not text.isdecimal() or not 1 <= len(text) <= 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a whole number, 1 or more")
    return int(text)


def priority(text: str) -> int:
    """A job's priority."""
    try:
        value = int(text)
    except ValueError:
        value = PRIORITY_LIMIT + 1
    if abs(value) > PRIORITY_LIMIT:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a whole number such as 3 or -3")
    return value


def name(text: str) -> str:
    """The name of a task or a queue."""
    if not is_name(text):
        raise argparse.ArgumentTypeError(f"{text[:80]!r} is no name that can be stored")
    return text


def retention_days(text: str) -> float | None:
    """How long ended jobs are kept; ``None`` is for ever."""
    if text == "forever":
        return None
    return _positive(text, "must be a number of days above 0, or forever")


def interval_hours(text: str) -> float:
    """The time between two clean-ups."""
    return _positive(text, "must be a number of hours above 0")


def _positive(text: str, rule: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} {rule}")
    return value


def seconds(text: str) -> float:
    """A duration."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e10:
        raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a number of seconds, 0 or more")
    return value


def rate(text: str) -> float:
    """Starts per second."""
    from bgworker.limits import parse_rate

    try:
        return parse_rate(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def address(text: str) -> tuple[str, int]:
    """Where to listen: host and port."""
    from bgworker.worker.health import listen_address

    try:
        return listen_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def queue_names(text: str) -> tuple[str, ...]:
    """Names, separated by commas; each once."""
    names = tuple(dict.fromkeys(name(one.strip()) for one in text.split(",") if one.strip()))
    if not names:
        raise argparse.ArgumentTypeError("no queue is named")
    return names


def json_list(text: str) -> list[Any]:
    """A JSON array."""
    value = _json(text)
    if isinstance(value, list):
        return value
    raise argparse.ArgumentTypeError(f"{text[:80]!r} must be a JSON array, such as [1, 2]")


def json_object(text: str) -> dict[str, Any]:
    """A JSON object."""
    value = _json(text)
    if isinstance(value, dict):
        return value
    raise argparse.ArgumentTypeError(f'{text[:80]!r} must be a JSON object, such as {{"a": 1}}')


def _json(text: str) -> object:
    try:
        found: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found
