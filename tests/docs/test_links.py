"""Links between our documents lead somewhere, and their tables are whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\((?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def anchors_of(document: Path) -> set[str]:
    """The anchors a heading gets: lower case, no punctuation, hyphens for blanks."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {
        "#" + re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_to_a_file_and_a_heading(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text()):
        path = document.parent / target

        assert path.exists(), f"no {target}"
        assert not anchor or anchor in anchors_of(path), f"no {anchor} in {target}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_table_is_cut_in_two(document: Path) -> None:
    """Behind an empty line its rows would be read as text."""
    parts = re.findall(r"^\|.*(?:\n\|.*)*", document.read_text(), re.MULTILINE)

    assert [part for part in parts if not re.search(r"^\|[^\n]*\n\|[\s:|-]+(\n|$)", part)] == []
