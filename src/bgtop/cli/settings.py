"""What becomes of the options of a command, and complaints about them."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from bgtop.cli.option_table import LIVE
from bgtop.config import Arguments, Config, load_config
from bgtop.config_values import KEYS
from bgtop.registry import name_fault, scheme_fault

if TYPE_CHECKING:
    import argparse

_OPTION_KEYS: Final = [option.key for option in LIVE if option.key in KEYS]
"""The options that are settings, by any command that has them."""


def config_of(options: argparse.Namespace, *, need_source: bool = True) -> Config:
    """The settings of this run; raises :class:`bgtop.config.ConfigError`."""
    given = {key: getattr(options, key, None) for key in _OPTION_KEYS}
    arguments = Arguments(
        sources=getattr(options, "sources", ()),
        options={key: text for key, text in given.items() if text is not None},
        config=options.config,
        profile=options.profile,
    )
    return load_config(
        arguments,
        os.environ,
        need_source=need_source,
        scheme_fault=scheme_fault,
        name_fault=name_fault,
    )


def complain(*lines: str) -> None:
    """Say it on standard error, in harmless letters."""
    from bgtop.view.text import clean

    for line in lines:
        # An indented line goes on with what the one above it says.
        sys.stderr.write(f"{'' if line.startswith(' ') else 'bgtop: '}{clean(line, 5000)}\n")
