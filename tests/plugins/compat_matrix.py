"""Runs bgtop's tests on each release of compat/worlds.txt and each server of compat/servers.txt.

usage, after make venv-dev:  .venv/bin/python tests/plugins/compat_matrix.py [--quick] [NAME…]

Each cell that could be run is written to compat/tested.txt with what was found in it, and the table
of docs/reference/compatibility.md is made of that. Nothing else writes either, so the document says
"tested" only of what was. Exits with 1 if a cell failed; what cannot be had here is no failure.
With --quick the conformance suites only are run, and nothing is written.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPAT = ROOT / "compat"
TESTED = COMPAT / "tested.txt"
DOCUMENT = ROOT / "docs/reference/compatibility.md"
VENVS = ROOT / ".venvs"
MARKS = "<!-- tested -->", "<!-- /tested -->"

TITLES = {
    "celery": "Celery",
    "rq": "RQ",
    "huey": "Huey",
    "dramatiq": "Dramatiq",
    "arq": "arq",
    "redis": "Redis",
    "valkey": "Valkey",
    "rabbitmq": "RabbitMQ",
}
CONFORMANCE = {
    "celery": "celery_redis",
    "rq": "rq",
    "huey": "huey",
    "dramatiq": "dramatiq_redis",
    "arq": "arq",
}
ON_RABBITMQ = ("celery_rabbit", "dramatiq_rabbit")
INTEGRATION = {
    "celery": ("celery_broker", "celery_workers"),
    "rq": ("rq_store",),
    "huey": ("huey_redis", "huey_sqlite", "huey_agent"),
    "dramatiq": ("dramatiq_broker", "dramatiq_workers"),
    "arq": ("arq_broker",),
    "server": ("redis_link", "redis_refusals", "redis_subscription", "redis_rights"),
    "rabbitmq": ("rabbit_link", "rabbit_discover", *ON_RABBITMQ),
}
VERSIONS = """
import importlib.metadata, platform, sys
found = [f"{name} {importlib.metadata.version(name)}" for name in sys.argv[1:]]
print(", ".join([*found, "Python " + platform.python_version()]))
"""


@dataclass(frozen=True)
class Cell:
    """One line of worlds.txt or servers.txt."""

    name: str
    asked: str
    """The rest of the line: what was tested under another one proves nothing."""

    without: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The system, or the sort of server."""
        return self.name.partition("-")[0]

    @property
    def is_world(self) -> bool:
        """Whether it is a system; else it is a server."""
        return self.kind in CONFORMANCE


@dataclass(frozen=True)
class Result:
    """One line of tested.txt: what was found where this was asked for, and pytest's last words."""

    name: str
    asked: str
    found: str
    outcome: str


def cells() -> list[Cell]:
    """All that is asked for, in the order of the files."""
    files = (COMPAT / "worlds.txt", COMPAT / "servers.txt")
    return [_cell(*line.split()) for path in files for line in _lines(path)]


def _cell(name: str, origin: str, without: str, *asked: str) -> Cell:
    words = () if without == "-" else tuple(without.split(","))
    left_out = [f"without {without}"] if words else []
    return Cell(name, " ".join([origin, *left_out, *asked]), words)


def results() -> dict[str, Result]:
    """What was tested as it is asked for now, by name."""
    asked = {cell.name: cell.asked for cell in cells()}
    found = (Result(*line.split(" | ")) for line in _lines(TESTED))
    return {result.name: result for result in found if asked.get(result.name) == result.asked}


def table() -> str:
    """The table of the document."""
    tested = results()
    rows = ["| release | tested with | result |", "|---|---|---|"]
    for cell in cells():
        title = f"{TITLES[cell.kind]} {cell.name.partition('-')[2]}"
        result = tested.get(cell.name)
        if result is None:
            rows.append(f"| {title} | – | not tested |")
            continue
        number = re.fullmatch(r"(\d+) passed", result.outcome)
        words = f"tested: {number[1]} tests" if number else f"**fails**: {result.outcome}"
        # The package of redis-py is called like the server.
        found = result.found.replace(", redis ", ", redis-py ")
        rows.append(f"| {title} | {found} | {words} |")
    return "\n".join(rows) + "\n"


def document() -> str:
    """The whole document, with the table as it is now."""
    before, _, rest = DOCUMENT.read_text().partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    return f"{before}{MARKS[0]}\n{table()}{MARKS[1]}{after}"


def run(cell: Cell, *, quick: bool) -> Result | None:
    """Run the tests of one cell; ``None`` if it cannot be had here."""
    script = "get-world" if cell.is_world else "get-servers"
    got = subprocess.run([ROOT / "scripts" / script, cell.name], cwd=ROOT, check=False)
    if cell.is_world:
        program = VENVS / "worlds" / cell.name / "bin/python"
        variable = f"BGTOP_TEST_{cell.kind.upper()}_PYTHON"
        names = [re.split(r"[\[=]", word)[0] for word in cell.asked.split() if "==" in word]
        version = [str(program), "-c", VERSIONS, *names, "redis"]
    else:
        program = VENVS / "servers" / cell.name / "server"
        on_rabbitmq = cell.kind == "rabbitmq"
        variable = f"BGTOP_TEST_{'RABBITMQ' if on_rabbitmq else 'REDIS'}_SERVER"
        version = [str(program), "--version"]
    if got.returncode or not program.exists():
        return None
    words = subprocess.run(version, capture_output=True, text=True, check=True).stdout.strip()
    found = words if cell.is_world else re.sub(r".*v=(\S+).*", r"\1", words)
    ended = subprocess.run(
        [*_pytest(cell, quick=quick)],
        cwd=ROOT,
        env={**os.environ, variable: str(program)},
        capture_output=True,
        text=True,
        check=False,
    )
    log = VENVS / f"compat-{cell.name}.log"
    log.write_text(ended.stdout + ended.stderr)
    last = ended.stdout.strip().splitlines()[-1:] or ["nothing was run"]
    outcome = re.sub(r", \d+ (deselected|warnings?)| in .*|=", "", last[0]).strip()
    if ended.returncode:
        print("\n".join(ended.stdout.splitlines()[-40:]), f"see {log}", sep="\n", flush=True)
        outcome = outcome if "failed" in outcome else f"failed: {outcome}"
    return Result(cell.name, cell.asked, found, outcome)


def _suites(cell: Cell) -> list[str]:
    if cell.kind == "rabbitmq":
        return [*ON_RABBITMQ]
    return [CONFORMANCE[cell.kind]] if cell.is_world else [*CONFORMANCE.values()]


def _pytest(cell: Cell, *, quick: bool) -> list[str]:
    files = [f"tests/bgtop/conformance/test_{name}.py" for name in _suites(cell)]
    if not quick:
        part = cell.kind if cell.kind in INTEGRATION else "server"
        files += [f"tests/bgtop/integration/test_{name}.py" for name in INTEGRATION[part]]
    chosen = ["-m", "not same_python"] if cell.is_world else []
    left_out = [f"not ({' and '.join(word.split('+'))})" for word in cell.without]
    if left_out:
        chosen += ["-k", " and ".join(left_out)]
    testers = ["--testers", os.environ.get("TESTERS", "2")]
    return [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *testers,
        *files,
        *chosen,
    ]


def _write(result: Result) -> None:
    """Keep what was found, and show it in the document."""
    known = {**results(), result.name: result}
    lines = [
        f"{r.name} | {r.asked} | {r.found} | {r.outcome}"
        for r in (known.get(cell.name) for cell in cells())
        if r is not None
    ]
    head = "# Written by tests/plugins/compat_matrix.py: name | asked for | found | outcome\n"
    TESTED.write_text(head + "\n".join(lines) + "\n")
    DOCUMENT.write_text(document())


def _lines(path: Path) -> list[str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return [line for line in lines if line and not line.startswith("#")]


def main(*words: str) -> int:
    """Run these cells, or all."""
    quick = "--quick" in words
    wanted = [word for word in words if not word.startswith("-")]
    unknown = set(wanted) - {cell.name for cell in cells()}
    if unknown:
        print(f"no such release: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    failed = False
    for cell in cells():
        if wanted and cell.name not in wanted:
            continue
        result = run(cell, quick=quick)
        if result is None:
            print(f"{cell.name}: not here, not tested", flush=True)
            continue
        print(f"{cell.name}: {result.outcome} ({result.found})", flush=True)
        failed |= "failed" in result.outcome or "error" in result.outcome
        if not quick:
            _write(result)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
