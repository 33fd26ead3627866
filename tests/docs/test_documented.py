"""What a user can type or read is in the reference, and the reference names nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from bgtop.config_sections import ALERT_KEYS
from bgtop.config_values import KEYS
from bgtop.model import Capability
from bgtop.state.measures import OWN, Kind
from bgtop.state.peer_measures import SPECS
from bgtop.symptoms import SYMPTOMS
from bgtop.testing import BackendHooks
from bgtop.view.commands import COMMANDS
from bgtop.view.replay_keys import REPLAY_COMMANDS
from bgworker.inspector import Stats
from bgworker.log import EVENTS
from bgworker.metrics import exposition
from bgworker.states import TRANSITIONS

ROOT = Path(__file__).parents[2]
COMMAND_LINE = ROOT / "docs/reference/command-line.md"
PROGRAMS = {
    "bgtop": {
        *("snapshot", "queues", "workers", "tasks", "task", "schedules"),
        *("record", "replay", "export"),
        *("check", "wait", "doctor", "web", "init", "completion", "man", "plugins", "demo"),
        *("retry", "cancel", "delete", "requeue", "purge", "pause", "resume"),
    },
    "bgworker": {
        *("run", "enqueue", "inspect", "stats", "failed", "dead"),
        *("retry", "cancel", "purge", "check"),
    },
}
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


EVERY_HELP = """
import importlib, sys
module, *commands = sys.argv[1:]
main = importlib.import_module(module).main
for command in commands:
    try:
        main([command, "--help"])
    except SystemExit as end:
        assert not end.code, command
"""


def help_of(program: str) -> str:
    """The help text of the installed program."""
    return output_of(str(Path(sys.executable).with_name(program)), "--help")


def output_of(*command: str) -> str:
    """What a command prints, wide enough that no line of a help text is broken."""
    environment = {**os.environ, "COLUMNS": "300", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout


@cache
def commands_of(program: str) -> frozenset[str]:
    """The names ``--help`` lists: argparse sets them off by four spaces."""
    return frozenset(re.findall(r"^ {4}([a-z][a-z-]*)(?: {2,}|$)", help_of(program), re.MULTILINE))


@cache
def options_of(program: str) -> frozenset[str]:
    module = {"bgtop": "bgtop.cli.main", "bgworker": "bgworker.cli"}[program]
    # One process for the help of all commands: to start one for each takes ten times as long.
    texts = output_of(sys.executable, "-c", EVERY_HELP, module, *sorted(commands_of(program)))
    return frozenset(OPTION.findall(help_of(program) + texts))


def part_about(program: str) -> str:
    """The reference from the program's heading to the next program's."""
    parts = re.split(r"^## (\w+)$", COMMAND_LINE.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[program]


def first_column(document: str, header: str) -> set[str]:
    """What stands in backticks in the first column of the table with this header."""
    _, found, rest = (ROOT / document).read_text().partition(f"\n| {header}")
    assert found
    cells = re.findall(r"^\| (`.+?) \|", rest.partition("\n\n")[0], re.MULTILINE)
    return {name for cell in cells for name in re.findall(r"`(\S+)`", cell)}


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_commands_we_promise_are_there(program: str) -> None:
    assert PROGRAMS[program] <= commands_of(program)


@pytest.mark.parametrize("program", PROGRAMS)
def test_each_command_has_a_heading_of_its_own(program: str) -> None:
    headings = re.findall(rf"^### `{program} ([a-z-]+)", part_about(program), re.MULTILINE)

    assert commands_of(program) == set(headings)


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_in_help_and_reference_are_the_same(program: str) -> None:
    documented = set(OPTION.findall(part_about(program)))

    assert options_of(program) - {"--help"} == documented - {"--help"}


def test_each_capability_is_explained_to_backend_authors() -> None:
    named = first_column("docs/writing-a-backend.md", "`bgtop.model.Capability` |")

    assert named == {capability.name for capability in Capability}


def test_each_hook_of_the_conformance_suite_is_explained_to_backend_authors() -> None:
    named = first_column("docs/writing-a-backend.md", "hook |")
    own = {"backend", "check_words", "depth_of"}

    assert named == {name for name in vars(BackendHooks) if not name.startswith("_")} - own


def test_the_drawn_state_machine_is_the_one_that_runs() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    drawing = text.partition("stateDiagram-v2\n")[2].partition("```")[0]
    drawn = set(re.findall(r"(\w+) --> (\w+)", drawing))
    table = {(state.value, after.value) for state, moves in TRANSITIONS.items() for after in moves}

    assert drawn == table


def test_each_log_event_is_listed_with_its_level() -> None:
    text = (ROOT / "docs/reference/logs.md").read_text()

    assert dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", text, re.MULTILINE)) == EVENTS


def test_each_metric_is_explained() -> None:
    text, _ = exposition(Stats(queues=(), workers=(), rescued=0, stale_writes=0), now=0)
    families = re.findall(r"^# TYPE (\w+) (\w+)$", text.decode(), re.MULTILINE)
    summaries = {name for name, kind in families if kind == "summary"}
    parts = {f"{name}_{part}" for name in summaries for part in ("count", "sum")}
    named = first_column("docs/reference/metrics.md", "metric | type | meaning |")

    assert {name.partition("{")[0] for name in named} == (
        {name for name, _ in families} - summaries | parts
    )


def test_each_measure_of_bgtop_is_explained_with_its_type_and_labels() -> None:
    text = (ROOT / "docs/reference/metrics.md").read_text()
    rows = re.findall(r"^\| `(bgtop_\w+)\{([a-z,]+)\}` \| (\w+) \|", text, re.MULTILINE)
    ending = {Kind.COUNTER: "_total"}
    told = {
        (
            f"{spec.name}{ending.get(spec.kind, '')}",
            ",".join(label for label in spec.labels if label not in spec.hidden),
            spec.kind.value,
        )
        for spec in OWN
    }

    assert set(rows) == told


@pytest.mark.parametrize("peer", SPECS)
def test_each_measure_under_another_exporter_s_name_is_explained(peer: str) -> None:
    text = (ROOT / "docs/reference/metrics.md").read_text()
    table = text.partition(f"| `--compat {peer}` |")[2].partition("\n\n")[0]
    names = {name.removesuffix("_total") for name in re.findall(r"`([a-z_]+)`", table)}
    short = {f"celery_task{name}"[:-1] for name in names if name.startswith("_")}

    assert {spec.name for spec in SPECS[peer]} <= names | short


def test_each_configuration_key_is_explained() -> None:
    assert first_column("docs/reference/config.md", "key | meaning | default |") == set(KEYS)


def test_each_key_of_the_other_sections_is_explained() -> None:
    text = (ROOT / "docs/reference/config.md").read_text()
    bindable = {name.replace(" ", "_") for name in (c.name for c in COMMANDS)} - {"jump"}
    listed = text.partition("The commands are ")[2].partition(".\n")[0]

    assert first_column("docs/reference/alerts.md", "key | meaning | default |") == set(ALERT_KEYS)
    assert set(re.findall(r"`(\w+)`", listed)) == bindable


def test_each_finding_is_explained_with_its_severity() -> None:
    text = (ROOT / "docs/reference/findings.md").read_text()
    named = re.findall(r"^\| `([\w-]+)` \| (\w+) \|", text, re.MULTILINE)

    assert named == [(code, symptom.severity.value) for code, symptom in SYMPTOMS.items()]


def test_each_key_of_the_live_view_is_explained() -> None:
    shown = {key for command in COMMANDS for key in command.shown.split()}

    assert first_column("docs/reference/keys.md", "key | what it does |") == shown


@pytest.mark.parametrize("document", ["docs/reference/keys.md", "docs/how-to/record-and-replay.md"])
def test_each_key_of_a_recording_is_explained(document: str) -> None:
    header = "in a recording |" if "keys" in document else "key | what it does |"
    shown = {command.shown for command in REPLAY_COMMANDS}

    assert first_column(document, header) == shown | {"p"}


@pytest.mark.parametrize("package", ["bgtop", "bgworker"])
def test_the_map_of_the_sources_names_what_is_there(package: str) -> None:
    named = first_column("docs/architecture.md", f"in `src/{package}` |")

    assert named
    assert [name for name in named if not (ROOT / "src" / package / name).exists()] == []
