"""``bgtop plugins``: which job systems, renderers and exporters can be used here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from bgtop.cli.options import Parser, new_parser
from bgtop.registry import (
    BACKENDS,
    EXPORTERS,
    RENDERERS,
    PluginError,
    entry_points,
    load_backend,
    load_exporter,
    load_renderer,
)
from bgtop.view.text import clean

if TYPE_CHECKING:
    import argparse


def parser(_: str) -> Parser:
    """What reads the arguments: there are none."""
    return new_parser(
        "bgtop plugins",
        "List the job systems, renderers and exporters that can be used here.",
        usage="bgtop plugins",
    )


def run(_: str, __: argparse.Namespace) -> int:
    """Print them."""
    return print_plugins()


def print_plugins() -> int:
    """A line for each plug-in, or for what keeps it from loading."""
    rows = [*_backends(), *_renderers(), *_exporters()]
    widths = [max(map(len, texts)) for texts in list(zip(*rows, strict=True))[:3]]
    for *texts, words in rows:
        cells = [text.ljust(cells) for text, cells in zip(texts, widths, strict=True)]
        sys.stdout.write("  ".join([*cells, words]).rstrip() + "\n")
    sys.stdout.flush()
    return 0


def _backends() -> Iterator[Sequence[str]]:
    for name, entry in entry_points(BACKENDS).items():
        yield "backend", name, entry.distribution, _words(_backend_words, name)


def _renderers() -> Iterator[Sequence[str]]:
    for name, entry in entry_points(RENDERERS).items():
        yield "renderer", name, entry.distribution, _words(_renderer_words, name)


def _exporters() -> Iterator[Sequence[str]]:
    for name, entry in entry_points(EXPORTERS).items():
        yield "exporter", name, entry.distribution, _words(_exporter_words, name)


def _backend_words(name: str) -> str:
    plugin = load_backend(name)
    schemes = ", ".join(f"{scheme}://" for scheme in plugin.schemes)
    return f"{plugin.summary} ({schemes})"


def _renderer_words(name: str) -> str:
    return load_renderer(name).summary


def _exporter_words(name: str) -> str:
    return load_exporter(name).summary


def _words(words_of: Callable[[str], str], name: str) -> str:
    """What a plug-in says of itself, or what keeps it from loading."""
    try:
        return clean(words_of(name))
    except PluginError as fault:
        return clean(str(fault))
