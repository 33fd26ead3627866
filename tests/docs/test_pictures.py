"""The pictures in the README are golden pages in colour, drawn by Rich.

``BGTOP_WRITE_GOLDEN=1 pytest tests/docs/test_pictures.py`` draws them anew.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from golden_pages import NOW, PAGES
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from bgtop.contracts import Look, Size
from bgtop.renderers.rich import rich_style
from bgtop.view.layout import Screen, layout
from bgtop.view.pages import page_of
from bgtop.view.themes import paints_of
from bgtop.view.ui import Ui

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs/pictures"
SIZE = Size(120, 24)
PICTURES = {
    "overview": "What waits, who works, what broke",
    "queue": "Inside a queue",
    "tasks": "Every task, its times and its exceptions",
    "job": "One job, whole",
    "question": "Before anything is done",
}
DARK = [
    *((62, 68, 81), (224, 108, 117), (152, 195, 121), (229, 192, 123)),
    *((52, 101, 164), (198, 120, 221), (86, 182, 194), (200, 204, 212)),
]
BRIGHT = [
    *((127, 132, 142), (240, 128, 136), (170, 214, 140), (240, 208, 140)),
    *((120, 190, 250), (214, 142, 236), (106, 202, 214), (255, 255, 255)),
]
COLORS = TerminalTheme((24, 26, 31), (208, 212, 220), DARK, BRIGHT)
# As Rich frames a terminal, but without fonts from a server: these pictures load nothing.
FRAME = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: "DejaVu Sans Mono", Menlo, Consolas, monospace;
 font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-size: 16px; font-family: sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def screen_of(name: str) -> Screen:
    seen, ui = PAGES[name](Ui(size=SIZE, interval=5))
    return layout(page_of(seen, ui, NOW), SIZE)


def drawn(name: str) -> str:
    console = Console(
        file=io.StringIO(),
        record=True,
        width=SIZE.columns,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    styles = {style: rich_style(paint) for style, paint in paints_of(Look(), 256).items()}
    for line in screen_of(name).lines:
        parts = [(span.text, styles[span.style]) for span in line]
        console.print(Text.assemble(*parts, end="\n"), no_wrap=True, crop=True)
    svg = console.export_svg(
        title=PICTURES[name], theme=COLORS, code_format=FRAME, unique_id=f"bgtop-{name}"
    )
    return re.sub(r"\s+\n", "\n", svg)


def letters(svg: str) -> list[str]:
    """The lines of the screen in a picture, without blanks."""
    lines: dict[float, dict[float, str]] = {}
    for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        if "clip-path" in text.attrib:
            line = lines.setdefault(float(text.attrib["y"]), {})
            line[float(text.attrib["x"])] = text.text or ""
    in_order = ["".join(line[x] for x in sorted(line)) for _, line in sorted(lines.items())]
    return [found for found in map(bare, in_order) if found]


def bare(text: str) -> str:
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_its_page(name: str) -> None:
    path = FOLDER / f"{name}.svg"
    if os.environ.get("BGTOP_WRITE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        path.write_text(drawn(name))

    spans = [bare("".join(span.text for span in line)) for line in screen_of(name).lines]
    assert letters(path.read_text()) == [text for text in spans if text]
    assert "http" not in path.read_text().replace("http://www.w3.org/2000/svg", "")


def test_the_readme_shows_them() -> None:
    shown = re.findall(r"\]\(docs/pictures/(\w+)\.svg\)", (ROOT / "README.md").read_text())

    assert sorted(shown) == sorted(PICTURES)
