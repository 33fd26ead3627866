"""What is shipped for other programs, checked by these programs."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
from configparser import ConfigParser
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

DEPLOY = Path(__file__).parents[2] / "deploy"


def dashboards(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.syspath_prepend(str(DEPLOY / "grafana"))
    return runpy.run_path(str(DEPLOY / "grafana/dashboards.py"))


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("apt-get install prometheus")
    return found


def test_prometheus_understands_the_rules_and_each_alert_fires_and_does_not(promtool: str) -> None:
    folder = DEPLOY / "prometheus"
    for what in (
        ["check", "rules", "bgtop.rules.yml"],
        ["check", "config", "prometheus.yml"],
        ["check", "config", "--syntax-only", "compose.yml"],
        ["test", "rules", "bgtop.rules.test.yml"],
    ):
        ran = subprocess.run(
            [promtool, *what], cwd=folder, check=False, capture_output=True, text=True
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_tested() -> None:
    alerts = re.findall(r"alert: (\w+)", (DEPLOY / "prometheus/bgtop.rules.yml").read_text())
    tests = (DEPLOY / "prometheus/bgtop.rules.test.yml").read_text()
    for alert in alerts:
        asked = re.findall(rf"alertname: {alert}\b(.*)", tests)
        assert any("exp_alerts: []" in rest for rest in asked), f"{alert} never stays silent"
        assert any("exp_alerts: []" not in rest for rest in asked), f"{alert} never fires"


def test_the_dashboards_are_those_of_their_program(monkeypatch: pytest.MonkeyPatch) -> None:
    made = dashboards(monkeypatch)
    names = {dashboard.name for dashboard in made["DASHBOARDS"]}

    assert {path.stem for path in (DEPLOY / "grafana").glob("*.json")} == names
    for dashboard in made["DASHBOARDS"]:
        path = DEPLOY / f"grafana/{dashboard.name}.json"
        assert path.read_text() == made["text_of"](dashboard), "run its program"


@pytest.mark.parametrize("path", sorted((DEPLOY / "grafana").glob("*.json")), ids=lambda p: p.stem)
def test_no_panel_stands_on_another(path: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(path.read_text())["panels"]:
        place: dict[str, Any] = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert all(target.get("expr") or target.get("target") for target in panel["targets"])
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


@pytest.mark.parametrize("name", sorted(path.name for path in (DEPLOY / "systemd").iterdir()))
def test_units_call_commands_with_options_there_are(name: str) -> None:
    found = re.search(r"^ExecStart=/usr/bin/env (\w+) (\w+) (.*)$", unit(name), re.MULTILINE)
    assert found is not None
    program, command, rest = found.groups()

    beside = Path(sys.executable).parent / program
    told = subprocess.run([beside, command, "--help"], capture_output=True, text=True, check=True)

    options = set(re.findall(r"--[a-z-]+", rest))
    assert options
    assert options <= set(re.findall(r"--[a-z-]+", told.stdout))


@pytest.mark.parametrize("name", ["bgtop-export.service", "bgtop-web.service"])
def test_a_configuration_with_passwords_can_be_roots_alone(name: str) -> None:
    text = unit(name)
    assert re.search("^LoadCredential=config:/etc/bgtop/config$", text, re.MULTILINE)
    assert " --config ${CREDENTIALS_DIRECTORY}/config " in text


@pytest.mark.parametrize("tags", ["", ";queue=mail;source=h;system=celery;task=shop.send"])
@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("bgtop.task.failed", "last"),
        ("bgtop.task.runtime.count", "last"),
        ("bgtop.task.runtime.mean", "average"),
        ("bgtop.queue.depth", "average"),
        ("stats_counts.bgtop.task.failed", "sum"),
        ("stats.counters.bgtop.task.failed.count", "sum"),
        ("stats.counters.bgtop.task.failed.rate", "average"),
        ("stats.bgtop.task.failed", "average"),
        ("stats.timers.bgtop.task.runtime.count", "sum"),
        ("stats.timers.bgtop.task.runtime.sum_90", "sum"),
        ("stats.timers.bgtop.task.runtime.lower", "min"),
        ("stats.timers.bgtop.task.runtime.upper_90", "max"),
        ("stats.timers.bgtop.task.runtime.mean_90", "average"),
        ("stats.gauges.bgtop.queue.depth", "average"),
    ],
)
def test_whisper_adds_up_counts_with_tags_as_without(name: str, method: str, tags: str) -> None:
    """Carbon looks for its patterns in the name with the tags, and takes the first it finds."""
    rules = ConfigParser(interpolation=None)
    rules.read(DEPLOY / "graphite/storage-aggregation.conf")

    found = [
        rules[key] for key in rules.sections() if re.search(rules[key]["pattern"], name + tags)
    ]

    assert found[0]["aggregationMethod"] == method
    assert found[0]["xFilesFactor"] == "0"


def test_the_image_has_what_exporters_and_the_page_need() -> None:
    """Nothing can be installed into a container that is read-only."""
    image = (DEPLOY / "Dockerfile").read_text()
    named = re.search(r"'\.\[([\w,]+)\]'", image)
    assert named is not None
    exporters = [entry.load() for entry in entry_points(group="bgtop.exporters")]
    lines = [each.requires for each in exporters if each.requires]
    needed = {line.partition("[")[2].partition("]")[0] for line in lines}

    assert needed >= {"metrics", "otlp"}
    assert needed | {"web", "rabbitmq"} == set(named[1].split(","))
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", image, re.MULTILINE)
    assert all((DEPLOY.parent / path).exists() for paths in copied for path in paths.split())


def unit(name: str) -> str:
    return (DEPLOY / "systemd" / name).read_text()


def test_a_proxy_can_use_the_socket_of_the_page() -> None:
    """A group that is made with the unit has no members; whom a proxy has seen it says itself."""
    text = unit("bgtop-web.service")
    assert re.search("^ExecStart=.* --listen unix:.* --behind-proxy$", text, re.MULTILINE)
    assert re.search("^DynamicUser=yes$", text, re.MULTILINE)
    assert re.search(r"^Group=\w", text, re.MULTILINE)
