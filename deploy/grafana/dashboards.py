"""What the Grafana dashboards beside this file show; ``python dashboards.py`` writes them anew."""

from __future__ import annotations

import json
from pathlib import Path

from board import GREEN_FROM_ONE, OK_OR_NOK, RED_FROM_ONE, Dashboard, Panel, document, graph, stat

WHERE = 'source=~"$source", system=~"$system"'
QUEUE = f'{WHERE}, queue=~"$queue"'
TASK = f'{WHERE}, task=~"$task"'
SOURCES = ("source", "label_values(bgtop_source_up, source)")
SYSTEMS = ("system", 'label_values(bgtop_source_up{source=~"$source"}, system)')
OF_QUEUE = "{{source}} {{queue}}"
TOO_OLD = (("green", None), ("orange", 60), ("red", 300))
TOO_MANY_A_SECOND = (("green", None), ("red", 0.001))


def rate(name: str, where: str = WHERE) -> str:
    """By how much a counter grows in a second."""
    return f"rate({name}{{{where}}}[$__rate_interval])"


def in_this_time(name: str, where: str) -> str:
    """By how much a counter grew over the whole graph."""
    return f"increase({name}{{{where}}}[$__range])"


def quantile(share: float, name: str, where: str, by: str) -> str:
    """A percentile of a histogram."""
    return f"histogram_quantile({share}, sum by ({by}, le) ({rate(f'{name}_bucket', where)}))"


def events(kinds: str, by: str, where: str = WHERE) -> str:
    """How many of these happen in a second."""
    happened = rate("bgtop_task_events_total", f'{where}, event=~"{kinds}"')
    return f"sum by ({by}) ({happened})" if by else f"sum({happened})"


def longest(name: str) -> str:
    """The ten queues with the highest of these."""
    return f"topk(10, bgtop_queue_{name}{{{WHERE}}})"


def workers(state: str, by: str = "") -> str:
    """How many are in one of these states."""
    found = f'bgtop_workers{{{WHERE}, state=~"{state}"}}'
    return f"sum by ({by}) ({found})" if by else f"sum({found})"


def share_of(part: str, whole: str) -> str:
    """A quotient where there is something to divide by."""
    return f"{part} / ({whole} > 0)"


OVERVIEW = Dashboard(
    name="overview",
    title="bgtop / Overview",
    datasource="prometheus",
    variables=(SOURCES, SYSTEMS),
    panels=(
        stat("Sources that can be read", f"sum(bgtop_source_up{{{WHERE}}})", steps=GREEN_FROM_ONE),
        stat("Jobs that wait", f"sum(bgtop_queue_depth{{{WHERE}}})"),
        stat(
            "Oldest of them",
            f"max(bgtop_queue_oldest_age_seconds{{{WHERE}}})",
            unit="s",
            steps=TOO_OLD,
        ),
        stat(
            "Jobs in flight",
            f"sum(bgtop_tasks_in_flight{{{WHERE}}})",
            words="Received and not ended; 0 at rest.",
        ),
        stat("Failures per second", events("failed", ""), unit="cps", steps=TOO_MANY_A_SECOND),
        stat("Dead workers", workers("dead"), steps=RED_FROM_ONE),
        graph("Longest queues", (longest("depth"), OF_QUEUE)),
        graph("What happens to jobs", (events(".*", "event"), "{{event}}"), unit="cps"),
        graph("Oldest waiting job", (longest("oldest_age_seconds"), OF_QUEUE), unit="s"),
        graph(
            "Seconds until empty",
            (longest("drain_seconds"), OF_QUEUE),
            unit="s",
            words="Left out while a queue does not shrink.",
        ),
        graph("Workers", (workers(".*", "state"), "{{state}}"), stacked=True),
        graph(
            "Age of the readings",
            ('bgtop_snapshot_age_seconds{source=~"$source"}', "{{source}}"),
            unit="s",
            words="Grows while a source cannot be read.",
        ),
    ),
)

TASKS = Dashboard(
    name="tasks",
    title="bgtop / Tasks",
    datasource="prometheus",
    variables=(
        SOURCES,
        SYSTEMS,
        ("task", 'label_values(bgtop_task_events_total{source=~"$source"}, task)'),
    ),
    panels=(
        graph(
            "Succeeded and failed",
            (events("succeeded|failed", "task, event", TASK), "{{task}} {{event}}"),
            unit="cps",
        ),
        graph(
            "Share that fails",
            (
                share_of(events("failed", "task", TASK), events("succeeded|failed", "task", TASK)),
                "{{task}}",
            ),
            unit="percentunit",
        ),
        graph(
            "Runtime",
            *(
                (quantile(share, "bgtop_task_runtime_seconds", TASK, "task"), legend)
                for share, legend in (
                    (0.5, "{{task}} p50"),
                    (0.95, "{{task}} p95"),
                    (0.99, "{{task}} p99"),
                )
            ),
            unit="s",
        ),
        graph(
            "From sent to started",
            (quantile(0.95, "bgtop_task_wait_seconds", TASK, "task"), "{{task}} p95"),
            unit="s",
            words="Celery tells it only with task_send_sent_event.",
        ),
        graph("In flight", (f"sum by (task) (bgtop_tasks_in_flight{{{TASK}}})", "{{task}}")),
        graph(
            "Retried, revoked, rejected, lost",
            (events("retried|revoked|rejected|lost", "task, event", TASK), "{{task}} {{event}}"),
            unit="cps",
        ),
        graph(
            "Busiest by time spent",
            (
                f"topk(10, sum by (task) ({rate('bgtop_task_runtime_seconds_sum', TASK)}))",
                "{{task}}",
            ),
            words="Seconds of work in a second: how many processes a task keeps busy.",
        ),
        Panel(
            "In this time",
            (
                (
                    f"sum by (task, event) (increase(bgtop_task_events_total{{{TASK}}}[$__range]))",
                    "",
                ),
            ),
            kind="table",
        ),
    ),
)

QUEUES = Dashboard(
    name="queues",
    title="bgtop / Queues",
    datasource="prometheus",
    variables=(
        SOURCES,
        SYSTEMS,
        ("queue", 'label_values(bgtop_queue_depth{source=~"$source"}, queue)'),
    ),
    panels=(
        *(
            graph(title, (f"bgtop_queue_{name}{{{QUEUE}}}", OF_QUEUE), unit=unit)
            for title, name, unit in (
                ("Waiting", "depth", "short"),
                ("Oldest waiting job", "oldest_age_seconds", "s"),
                ("Running", "running", "short"),
                ("Delivered, not acknowledged", "unacked", "short"),
                ("Not due yet", "scheduled", "short"),
                ("Waiting for other jobs", "deferred", "short"),
                ("Failed", "failed", "short"),
                ("Dead letters", "dead", "short"),
                ("Consumers", "consumers", "short"),
                ("Seconds until empty", "drain_seconds", "s"),
                ("Paused", "paused", "short"),
            )
        ),
        graph(
            "Entered and left",
            (rate("bgtop_queue_entered_total", QUEUE), "{{queue}} in"),
            (rate("bgtop_queue_left_total", QUEUE), "{{queue}} out"),
            unit="cps",
        ),
    ),
)

WORKERS = Dashboard(
    name="workers",
    title="bgtop / Workers",
    datasource="prometheus",
    variables=(SOURCES, SYSTEMS),
    panels=(
        stat("Active", workers("active"), width=6),
        stat("Idle", workers("idle"), width=6),
        stat("Dead", workers("dead"), width=6, steps=RED_FROM_ONE),
        stat("Not heard yet", workers("unknown"), width=6),
        graph(
            "Workers by state",
            (workers(".*", "source, state"), "{{source}} {{state}}"),
            stacked=True,
            width=24,
        ),
        graph(
            "Share that is busy",
            (share_of(workers("active", "source"), workers("active|idle", "source")), "{{source}}"),
            unit="percentunit",
        ),
        graph("Jobs that run", (f"sum by (source) (bgtop_queue_running{{{WHERE}}})", "{{source}}")),
        graph(
            "Lost with their worker, or never received",
            (events("lost", "source, task"), "{{source}} {{task}}"),
            unit="cps",
        ),
        graph(
            "Events that did not reach bgtop",
            (f"increase(bgtop_events_missed_total{{{WHERE}}}[$__rate_interval])", "{{source}}"),
        ),
    ),
)

TREE = "bgtop.$system.$source"
COUNTS = f"stats_counts.{TREE}.task.$task"
ENDINGS = "{succeeded,failed,retried,revoked,rejected,lost}"


def so_far(kinds: str) -> str:
    """How many there were since the beginning of the graph; no point means that none came."""
    return f"integral(transformNull(sumSeries({COUNTS}.{kinds}), 0))"


def as_it_is(target: str) -> str:
    """Not the mean of what a pixel stands for: of one failure in an hour a sixth would be left."""
    return f"consolidateBy({target}, 'max')"


def a_minute(kind: str) -> str:
    """How many in each minute, by task."""
    return f"aliasByNode(summarize({COUNTS}.{kind}, '1min', 'sum'), 5)"


GRAPHITE = Dashboard(
    name="graphite",
    title="bgtop / Is it working? (Graphite behind StatsD or Bucky)",
    datasource="graphite",
    variables=(
        ("system", "stats_counts.bgtop.*"),
        ("source", "stats_counts.bgtop.$system.*"),
        ("task", "stats_counts.bgtop.$system.$source.task.*"),
    ),
    panels=(
        stat(
            "Is it working?",
            # Aligned to the beginning, the last sum is that of the last five minutes, all of them.
            as_it_is(f"summarize(sumSeries({COUNTS}.{{failed,lost}}), '5min', 'sum', true)"),
            width=8,
            mappings=OK_OR_NOK,
            steps=RED_FROM_ONE,
            words="Jobs that failed or were lost within five minutes: OK is none.",
        ),
        stat(
            "Received, not ended",
            as_it_is(f"diffSeries({so_far('received')}, {so_far(ENDINGS)})"),
            width=8,
            mappings=OK_OR_NOK,
            steps=RED_FROM_ONE,
            words="By diffSeries, from the left edge on: what was in flight there is subtracted."
            " What bgtop counts itself stands beside it, and is exact.",
        ),
        stat("In flight", f"sumSeries(stats.gauges.{TREE}.task.$task.in_flight)", width=8),
        graph(
            "Event time line", (f"aliasByNode(groupByNode({COUNTS}.*, 6, 'sum'), 0)", ""), width=24
        ),
        graph("Succeeded", (a_minute("succeeded"), ""), stacked=True),
        graph("Failed", (a_minute("failed"), ""), stacked=True),
        graph(
            "Runtime, mean",
            (f"aliasByNode(stats.timers.{TREE}.task.$task.runtime.mean, 6)", ""),
            unit="ms",
        ),
        graph("Jobs that wait", (f"aliasByNode(stats.gauges.{TREE}.queue.*.depth, 6)", "")),
    ),
)

DASHBOARDS = (OVERVIEW, TASKS, QUEUES, WORKERS, GRAPHITE)


def text_of(dashboard: Dashboard) -> str:
    """The file of a dashboard."""
    return json.dumps(document(dashboard), indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write all of them beside this file."""
    for dashboard in DASHBOARDS:
        path = Path(__file__).parent / f"{dashboard.name}.json"
        path.write_text(text_of(dashboard), encoding="utf-8")


if __name__ == "__main__":
    main()
