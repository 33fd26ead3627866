"""Rules of the house that a machine can check."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import bgtop
import bgworker

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
SAYS_NOTHING = re.compile(r"(utils?|helpers?|common|misc|managers?|base)(\.py)?")
# The brackets keep this file itself from matching.
MACHINE_PATH = re.compile(r"(?<![\w.~/-])/(?:w[o]rk|r[o]ot|h[o]me)/\w")
# What .gitignore names and make clean removes.
GENERATED = {"__pycache__", "build", "dist"}


def files_of_the_project() -> Iterator[Path]:
    for folder, subfolders, names in os.walk(ROOT):
        subfolders[:] = [
            name
            for name in subfolders
            if name not in GENERATED and (not name.startswith(".") or name == ".ci")
        ]
        yield from (Path(folder, name) for name in names if name != ".git")  # a file in a worktree


def test_sources_are_found() -> None:
    assert {"bgtop", "bgworker"} <= {path.relative_to(ROOT / "src").parts[0] for path in SOURCES}


def test_files_are_short() -> None:
    lines = {path: path.read_text().count("\n") for path in SOURCES}

    assert [f"{path}: {count} lines" for path, count in lines.items() if count > LONGEST_FILE] == []


def test_functions_are_short() -> None:
    long = [
        f"{path}:{node.lineno}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]

    assert long == []


def test_modules_are_named_by_what_they_are_for() -> None:
    paths = [path.relative_to(ROOT / "src") for path in SOURCES]

    assert [path for path in paths if any(map(SAYS_NOTHING.fullmatch, path.parts))] == []


def test_no_file_names_a_place_on_the_machine_of_its_author() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in files_of_the_project()
        for match in MACHINE_PATH.finditer(path.read_text(errors="replace"))
    ]

    assert found == []


def test_there_is_one_version() -> None:
    pyproject = (ROOT / "pyproject.toml").read_text()
    declared = re.findall(r'^version = "(.+)"$', pyproject, re.MULTILINE)

    assert declared == [bgtop.__version__] == [bgworker.__version__]
