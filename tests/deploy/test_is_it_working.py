"""The dashboard on Graphite: every target is rendered, and the balance is 0 when all is done."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ending import kill
from receivers import Carbon, Render, Statsd
from scripted_source import BGTOP, Script, install

from bgtop.testing import wait_until

DASHBOARD = Path(__file__).parents[2] / "deploy/grafana/graphite.json"
VARIABLES = {"$system": "*", "$source": "*", "$task": "*"}


class Stack:
    """A source whose jobs succeed, fail and get lost; StatsD, carbon and who renders it."""

    def __init__(self, folder: Path) -> None:
        self.carbon = Carbon(folder / "carbon")
        self.statsd = Statsd(folder / "statsd", self.carbon)
        self.render = Render(folder / "render", self.carbon)
        self.script = Script(folder / "script.json")
        self.environment = {**os.environ, **install(folder / "site"), "HOME": str(folder)}
        self.export: subprocess.Popen[bytes] | None = None

    def tell(self, received: int, ended: dict[str, int]) -> None:
        """So many jobs were received and so many have ended so far."""
        series = {
            "task": "shop.send",
            "queue": "mail",
            "counts": {"received": received, **ended},
            "in_flight": received - sum(ended.values()),
            "runtime": [[0, sum(ended.values())], 0.01 * sum(ended.values())],
        }
        self.script.write(queues=[{"name": "mail", "depth": 3}], events={"series": [series]})

    def start(self) -> None:
        self.tell(0, {"succeeded": 0, "failed": 0, "lost": 0})
        for receiver in (self.carbon, self.statsd, self.render):
            receiver.start()
        self.export = subprocess.Popen(
            [
                *(BGTOP, "export", f"{self.script.url}?system=celery", "--interval", "0.3"),
                *("--statsd", f"127.0.0.1:{self.statsd.port}"),
            ],
            env=self.environment,
            stderr=subprocess.DEVNULL,
        )

    def close(self) -> None:
        for receiver in (self.render, self.statsd, self.carbon):
            receiver.close()
        if self.export is not None:
            kill(self.export)

    def value(self, panel: str) -> float | None:
        """What a panel shows: its last value."""
        found = self.render.ask(TARGETS[panel])
        values = (
            [value for value, _ in found[0]["datapoints"] if value is not None] if found else []
        )
        return values[-1] if values else None


def targets() -> dict[str, str]:
    panels: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return {
        panel["title"]: re.sub(r"\$\w+", lambda name: VARIABLES[name[0]], target["target"])
        for panel in panels
        for target in panel["targets"]
    }


TARGETS = targets()


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    made = Stack(tmp_path_factory.mktemp("graphite"))
    try:
        made.start()
        yield made
    finally:
        made.close()


def test_it_is_red_while_something_is_missing_and_green_at_rest(stack: Stack) -> None:
    stack.tell(40, {"succeeded": 30, "failed": 0, "lost": 0})
    wait_until(lambda: stack.value("Received, not ended") == 10, seconds=60)
    wait_until(lambda: stack.value("In flight") == 10, seconds=20)

    stack.tell(40, {"succeeded": 37, "failed": 2, "lost": 1})

    wait_until(lambda: stack.value("Received, not ended") == 0, seconds=30)
    wait_until(lambda: stack.value("In flight") == 0, seconds=20)
    wait_until(lambda: stack.value("Is it working?") == 3, seconds=20)


def test_every_panel_has_something_to_draw(stack: Stack) -> None:
    wait_until(lambda: stack.value("Runtime, mean") is not None, seconds=60)

    drawn = {title: stack.value(title) for title in TARGETS}

    assert [title for title, value in drawn.items() if value is None] == []
