"""What the programs that measure the queue have in common for those who start them."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO


def options() -> argparse.ArgumentParser:
    """To be a parent of each program's own parser."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--quick", action="store_true", help="a smoke run of a few minutes, nothing to quote"
    )
    parser.add_argument(
        "--dir", default=".", help="on the disk to be measured; nothing stays there (default: .)"
    )
    parser.add_argument("--json", metavar="FILE", help="write all of it there; - for stdout")
    return parser


def run(
    words: str | None,
    parsers: Sequence[argparse.ArgumentParser],
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    argv: Sequence[str] | None,
) -> int:
    """One program from its arguments to its exit code: 0 the run is over, 130 interrupted.

    ``words`` begin with a line that says what it measures, ``parsers`` have its own options.
    """
    whole = argparse.ArgumentParser(
        description=(words or "").partition("\n")[0],
        allow_abbrev=False,
        parents=[*parsers, options()],
    )
    args = whole.parse_args(argv)
    try:
        write(args.json, measure(args))
    except KeyboardInterrupt:
        progress("")
        return 130
    return 0


def write(path: str | None, document: dict[str, Any]) -> None:
    """What ``--json`` asked for."""
    if path is None:
        return
    with _output(path) as file:
        json.dump(document, file, indent=1)
        file.write("\n")


def tell(path: str | None, text: str) -> None:
    """Print what people read, unless standard output is for the document."""
    if path != "-":
        print(text, flush=True)


def progress(text: str) -> None:
    """What is measured at the moment, on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()


def _output(path: str) -> contextlib.AbstractContextManager[TextIO]:
    if path == "-":
        return contextlib.nullcontext(sys.stdout)
    return open(path, "w", encoding="utf-8")
