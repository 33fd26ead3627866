"""Dashboards as Grafana imports them, made of panels that say only what they ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 24
"""Grafana's grid."""

RED_FROM_ONE = (("green", None), ("red", 1))
GREEN_FROM_ONE = (("red", None), ("green", 1))
OK_OR_NOK = (
    {
        "type": "value",
        "options": {"0": {"text": "OK", "color": "green", "index": 0}},
    },
    {
        "type": "range",
        "options": {"from": 1, "to": None, "result": {"text": "NOK", "color": "red", "index": 1}},
    },
)


@dataclass(frozen=True)
class Panel:
    """``asks`` are pairs of an expression and a legend; ``steps`` colour the values."""

    title: str
    asks: Sequence[tuple[str, str]]
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    unit: str = "short"
    steps: Sequence[tuple[str, float | None]] = ()
    words: str = ""
    stacked: bool = False
    mappings: Sequence[Any] = ()


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """``variables`` are pairs of a name and the query for its values."""

    name: str
    title: str
    datasource: str
    variables: Sequence[tuple[str, str]]
    panels: Sequence[Panel]


def document(dashboard: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana imports it."""
    return {
        "uid": f"bgtop-{dashboard.name}",
        "title": dashboard.title,
        "tags": ["bgtop"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "tags": ["bgtop"], "title": "bgtop", "asDropdown": True}],
        "templating": {"list": [_chosen(dashboard), *_variables(dashboard)]},
        "panels": list(_placed(dashboard)),
    }


def _chosen(dashboard: Dashboard) -> dict[str, Any]:
    return {
        "name": "datasource",
        "label": "Data source",
        "type": "datasource",
        "query": dashboard.datasource,
    }


def _source_of(dashboard: Dashboard) -> dict[str, str]:
    return {"type": dashboard.datasource, "uid": "${datasource}"}


def _variables(dashboard: Dashboard) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "label": name.capitalize(),
            "type": "query",
            "datasource": _source_of(dashboard),
            "query": query,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*" if dashboard.datasource == "prometheus" else "*",
            "current": {"text": "All", "value": "$__all"},
        }
        for name, query in dashboard.variables
    ]


def _placed(dashboard: Dashboard) -> list[dict[str, Any]]:
    """The panels in rows, each row as high as its first panel."""
    made = []
    left = top = height = 0
    for number, panel in enumerate(dashboard.panels, start=1):
        if left + panel.width > WIDTH:
            left, top = 0, top + height
        if left == 0:
            height = panel.height
        place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
        made.append({"id": number, "gridPos": place, **_panel(panel, _source_of(dashboard))})
        left += panel.width
    return made


def _panel(panel: Panel, source: dict[str, str]) -> dict[str, Any]:
    query = "expr" if source["type"] == "prometheus" else "target"
    steps = panel.steps or (("green", None),)
    field: dict[str, Any] = {
        "unit": panel.unit,
        "mappings": list(panel.mappings),
        "noValue": "–",
        "thresholds": {
            "mode": "absolute",
            "steps": [{"color": color, "value": value} for color, value in steps],
        },
    }
    if panel.kind == "timeseries":
        field["custom"] = {"fillOpacity": 10, "showPoints": "never"}
        if panel.stacked:
            field["custom"]["stacking"] = {"mode": "normal"}
    return {
        "title": panel.title,
        "description": panel.words,
        "type": panel.kind,
        "datasource": source,
        "fieldConfig": {"defaults": field, "overrides": []},
        "options": _OPTIONS[panel.kind],
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": source,
                query: asked,
                **({"legendFormat": legend} if query == "expr" else {}),
                **({"instant": True, "format": "table"} if panel.kind == "table" else {}),
            }
            for number, (asked, legend) in enumerate(panel.asks)
        ],
    }


_OPTIONS: dict[str, dict[str, Any]] = {
    "timeseries": {
        "legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "stat": {
        "reduceOptions": {"calcs": ["lastNotNull"]},
        "colorMode": "background",
        "graphMode": "area",
    },
    "table": {"showHeader": True},
}


def graph(title: str, *asks: tuple[str, str], **rest: Any) -> Panel:
    """Lines over time."""
    return Panel(title, asks, **rest)


def stat(title: str, asked: str, **rest: Any) -> Panel:
    """One number on a ground that says whether it is good."""
    return Panel(title, ((asked, ""),), kind="stat", **{"width": 4, "height": 5, **rest})
