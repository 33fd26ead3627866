"""What a worker does while there is nothing to do: statements, system calls, processor time."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from typing import Any

import machine
import queue_metered
from bars import Bar, Measured, Plan
from command_line import progress
from peers.meter import Field

_SETTLE = 2.0
_CPU_PERCENT = 0.1
_POOLS = ("process", "thread")


def measure(plan: Plan) -> Measured:
    """Of both pools: first left alone, then once more with its statements counted."""
    heads = ("pool", "CPU %", "processes", "system calls/s", "statements/s", "that read tables/s")
    rows, verdicts, found = [heads], [], {}
    for pool in _POOLS:
        progress(f"idle: pool={pool}")
        one = found[pool] = {**_alone(pool, plan), **_counted(pool, plan)}
        rows.append((pool, *(_cell(one[name]) for name in list(one))))
        cpu, tables = one["cpu_percent"], one["table_reads_per_second"]
        verdicts.append(Bar(f"{pool}: idle CPU", _CPU_PERCENT, "%", True).judge(cpu))
        verdicts.append(Bar(f"{pool}: statements on tables", 0, "/s", True).judge(tables))
    title = f"idle: a worker with nothing to do for {plan.seconds:g} s"
    return Measured(title, rows, verdicts, {"seconds": plan.seconds, "pools": found})


def _alone(pool: str, plan: Plan) -> dict[str, Any]:
    with (
        queue_metered.queue("full", plan.folder) as here,
        queue_metered.worker(here, "--pool", pool) as (pid, _),
    ):
        time.sleep(_SETTLE)
        members = machine.process_tree(pid)
        first, began = machine.cpu_ns(members), time.monotonic()
        time.sleep(plan.seconds)
        seconds, last = time.monotonic() - began, machine.cpu_ns(members)
        used = sum(last[member] - first[member] for member in last)
        return {
            "cpu_percent": used / 1e9 / seconds * 100,
            "processes": len(members),
            "system_calls_per_second": _system_calls(members, plan.seconds),
        }


def _counted(pool: str, plan: Plan) -> dict[str, Any]:
    with (
        queue_metered.queue("full", plan.folder) as here,
        queue_metered.worker(here, "--pool", pool, statements=True) as (_, meter),
    ):
        time.sleep(_SETTLE)
        meter.reset()
        time.sleep(plan.seconds)
        return {
            "statements_per_second": meter.count(Field.STATEMENTS) / plan.seconds,
            "table_reads_per_second": meter.count(Field.TABLES) / plan.seconds,
        }


def _system_calls(members: list[int], seconds: float) -> float | None:
    """Of the whole tree, as ``strace -c`` counts them; ``None`` where it may not look."""
    if shutil.which("strace") is None:
        return None
    watched = [word for pid in members for word in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-c", *watched], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    time.sleep(seconds)
    tracer.send_signal(signal.SIGINT)
    said = tracer.communicate(timeout=30)[1].decode(errors="replace")
    total = re.search(r"^\s*100\.00\s+\S+\s+\S+\s+(\d+)\s.*total$", said, re.MULTILINE)
    return int(total[1]) / seconds if total else None


def _cell(value: float | None) -> str:
    return "–" if value is None else f"{value:,.2f}" if isinstance(value, float) else f"{value:,}"
