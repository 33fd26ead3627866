"""What becomes of the options of a command, and complaints about them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from bgtop.config import Arguments, Config, load_config

if TYPE_CHECKING:
    import argparse


_OPTION_KEYS: Final = (
    "backend",
    "refresh_interval",
    "dead_after",
    "show_internal",
    "queue_filter",
    "worker_filter",
    "max_queues",
    "max_workers",
    "no_color",
    "ascii",
    "read_only",
    "no_mouse",
    "theme",
    "renderer",
    "sort",
)


def config_of(options: argparse.Namespace, *, need_source: bool = True) -> Config:
    """The settings of this run; raises :class:`bgtop.config.ConfigError`."""
    given = {key: getattr(options, key, None) for key in _OPTION_KEYS}
    arguments = Arguments(
        sources=getattr(options, "sources", ()),
        options={key: text for key, text in given.items() if text is not None},
        config=options.config,
        profile=options.profile,
    )
    return load_config(arguments, os.environ, need_source=need_source)


def complain(*lines: str) -> None:
    """Say it on standard error, in harmless letters."""
    from bgtop.view.text import clean

    for line in lines:
        # An indented line goes on with what the one above it says.
        sys.stderr.write(f"{'' if line.startswith(' ') else 'bgtop: '}{clean(line, 5000)}\n")
