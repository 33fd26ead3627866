"""What one refresh of bgtop costs as a broker grows, from 10 to 10,000 queues.

There is a worker for every ten queues.

For each system on Redis and each size: how long the poll takes, and the whole refresh with what is
remembered and the page; round trips, commands and memory. ``rq info`` stands beside RQ's line.
Nothing here passes or fails: the exit code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence

import machine
import yardstick
from background import redis_server
from scale_world import WORLDS, world

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url

_PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scale_probe.py")
_PATIENCE = 300.0

_COLUMNS = (
    ("poll ms", "poll_ms", "{:.1f}"),
    ("refresh ms", "refresh_ms", "{:.1f}"),
    ("slowest", "slowest_ms", "{:.1f}"),
    ("CPU ms", "cpu_ms", "{:.1f}"),
    ("trips", "round_trips", "{:.0f}"),
    ("commands", "commands", "{:,.0f}"),
    ("RSS MB", "rss_mb", "{:.1f}"),
    ("first s", "first_s", "{:.2f}"),
)


def probe(url: str, refreshes: int, interval: float) -> dict[str, float]:
    """Refreshes in a process of their own; raises ``RuntimeError`` with its last words."""
    command = [sys.executable, _PROBE, url, str(refreshes), str(interval)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_PATIENCE)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2])
    found: dict[str, float] = json.loads(done.stdout)
    return found


def rq_info(peers: str, port: int) -> dict[str, float] | None:
    """What RQ's own command takes for one look; ``None`` where it is not installed."""
    rq = os.path.join(peers, "bin", "rq")
    if not os.access(rq, os.X_OK):
        return None
    before, began = _commands(port), time.monotonic()
    command = [rq, "info", "--url", f"redis://127.0.0.1:{port}/0", "--raw"]
    subprocess.run(command, capture_output=True, check=True, timeout=_PATIENCE)
    return {"seconds": time.monotonic() - began, "commands": _commands(port) - before - 1}


def _commands(port: int) -> int:
    link = RedisLink(parse_redis_url(f"redis://127.0.0.1:{port}/0"))
    try:
        (reply,) = link.exchange(pack(("INFO", "stats")))
    finally:
        link.close()
    assert isinstance(reply, bytes)
    lines = dict(line.split(":", 1) for line in reply.decode().splitlines() if ":" in line)
    return int(lines["total_commands_processed"])


def line(queues: int, workers: int, found: dict[str, float]) -> str:
    """One row of the curve."""
    cells = (f"{shown.format(found[key]):>12}" for _, key, shown in _COLUMNS)
    return "".join([f"{queues:>8,}{workers:>9,}", *cells])


def measure(args: argparse.Namespace, port: int) -> list[dict[str, object]]:
    """All systems and sizes, printed as they come."""
    rows: list[dict[str, object]] = []
    for system in args.systems:
        heads = "".join(f"{head:>12}" for head, _, _ in _COLUMNS)
        print(f"\n{system}\n{'queues':>8}{'workers':>9}{heads}", flush=True)
        for queues in args.queues:
            workers = max(1, queues // 10)
            with world(system, port, queues=queues, workers=workers):
                url = f"{system}+redis://127.0.0.1:{port}/0"
                found = probe(url, args.refreshes, args.interval)
                peer = rq_info(args.peers, port) if system == "rq" else None
            print(line(queues, workers, found), flush=True)
            if peer is not None:
                text = f"rq info: {peer['seconds']:.2f} s, {peer['commands']:,} commands"
                print(f"{'':17}{text}", flush=True)
            rows.append({"system": system, "workers": workers, **found, "rq_info": peer})
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    args = _arguments(argv)
    load = os.getloadavg()[0]
    try:
        with redis_server() as port:
            print(yardstick.words(port))
            rows = measure(args, port)
    except KeyboardInterrupt:
        return 130
    machine.conclude(load, {"rows": rows}, args.json)
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument("--systems", nargs="+", choices=WORLDS, default=[*WORLDS], metavar="NAME")
    parser.add_argument(
        "--queues", nargs="+", type=int, default=[10, 100, 1000, 10_000], metavar="N"
    )
    parser.add_argument("--refreshes", type=int, default=20, metavar="N", help="per size")
    parser.add_argument("--interval", type=float, default=0.5, metavar="S", help="between them")
    parser.add_argument("--peers", default=".venvs/bench", metavar="VENV", help="has rq")
    parser.add_argument("--json", metavar="FILE", help="write all of it there")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
