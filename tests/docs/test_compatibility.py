"""The compatibility table says "tested" of what was run, as it is asked for now, and passed."""

from __future__ import annotations

import re
from pathlib import Path

import compat_matrix
import pytest
from compat_matrix import Cell, cells, document, results, run, table

WORLDS = """
# a comment
rq-1.0  3.10  -      rq==1.0.1 redis<6
rq-2.0  3.10  a,b_c  rq==2.0.0
"""
SERVERS = "redis-6.0  debian  -  bullseye  redis-tools\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A matrix of three cells, in which nothing was run yet."""
    (tmp_path / "worlds.txt").write_text(WORLDS)
    (tmp_path / "servers.txt").write_text(SERVERS)
    (tmp_path / "page.md").write_text("before\n<!-- tested -->\n<!-- /tested -->\nafter\n")
    monkeypatch.setattr(compat_matrix, "COMPAT", tmp_path)
    monkeypatch.setattr(compat_matrix, "TESTED", tmp_path / "tested.txt")
    monkeypatch.setattr(compat_matrix, "DOCUMENT", tmp_path / "page.md")
    return tmp_path


def rows(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| (\w+ [\d.]+) \| .* \| (.+) \|$", text, re.MULTILINE))


def test_the_page_is_what_the_record_says() -> None:
    page = compat_matrix.DOCUMENT.read_text()

    assert page == document()
    assert "tested: " in page


def test_what_a_system_is_said_to_support_has_a_row() -> None:
    kinds = {cell.kind for cell in cells()}

    systems = {"celery", "rq", "huey", "dramatiq", "arq"}
    assert kinds == systems | {"redis", "valkey", "rabbitmq"}
    assert len({cell.name for cell in cells()}) == len(cells())


def test_the_tests_that_are_run_are_there() -> None:
    names = [*compat_matrix.CONFORMANCE.values(), *compat_matrix.ON_RABBITMQ]
    assert [name for name in names if not _test_file("conformance", name).exists()] == []

    names = [name for part in compat_matrix.INTEGRATION.values() for name in part]
    assert [name for name in names if not _test_file("integration", name).exists()] == []


def _test_file(part: str, name: str) -> Path:
    return compat_matrix.ROOT / f"tests/bgtop/{part}/test_{name}.py"


def test_each_word_that_leaves_tests_out_is_the_name_of_one() -> None:
    """Else one that was renamed would be run where it cannot pass."""
    folders = ("tests/bgtop/conformance", "tests/bgtop/integration", "src/bgtop/testing")
    paths = [path for folder in folders for path in (compat_matrix.ROOT / folder).glob("*.py")]
    sources = "".join(f"def {path.stem}\n{path.read_text()}" for path in paths)
    words = {part for cell in cells() for word in cell.without for part in word.split("+")}

    assert [w for w in words if not re.search(rf"(def|class) \w*{re.escape(w)}", sources)] == []


def test_nothing_is_tested_before_it_was_run(folder: Path) -> None:
    assert rows(table()) == {
        "RQ 1.0": "not tested",
        "RQ 2.0": "not tested",
        "Redis 6.0": "not tested",
    }


def test_a_line_is_what_is_asked_for_with_what_is_left_out(folder: Path) -> None:
    assert cells() == [
        Cell("rq-1.0", "3.10 rq==1.0.1 redis<6"),
        Cell("rq-2.0", "3.10 without a,b_c rq==2.0.0", ("a", "b_c")),
        Cell("redis-6.0", "debian bullseye redis-tools"),
    ]


def test_only_what_passed_as_it_is_asked_for_now_is_tested(folder: Path) -> None:
    (folder / "tested.txt").write_text(
        "# a comment\n"
        "rq-1.0 | 3.10 rq==1.0.1 redis<6 | rq 1.0.1 | 3 failed, 7 passed\n"
        "rq-2.0 | 3.10 rq==2.0.0 | rq 2.0.0 | 10 passed\n"
        "redis-6.0 | debian bullseye redis-tools | 6.0.16 | 20 passed\n"
    )

    assert rows(table()) == {
        "RQ 1.0": "**fails**: 3 failed, 7 passed",
        "RQ 2.0": "not tested",
        "Redis 6.0": "tested: 20 tests",
    }
    assert document() == f"before\n<!-- tested -->\n{table()}<!-- /tested -->\nafter\n"


def test_what_cannot_be_had_is_no_result(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compat_matrix, "VENVS", tmp_path)
    monkeypatch.setattr(compat_matrix, "ROOT", tmp_path)
    for script in ("get-world", "get-servers"):
        (tmp_path / "scripts").mkdir(exist_ok=True)
        (tmp_path / "scripts" / script).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / "scripts" / script).chmod(0o755)

    assert [run(cell, quick=True) for cell in cells()] == [None] * 3
    assert results() == {}
