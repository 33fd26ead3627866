"""What a minute of bgtop at a bare ``redis://`` does to a Redis of a million foreign keys.

Four job systems live there. The server's slowlog, at 1 ms, should hold nothing of bgtop's: nobody
else waited for it. On a machine that does other things the server may be interrupted in any
command: how often that happens to 0.1 ms of work of our own is printed beside. Then follows every
command bgtop sent, with its number; all of them only read.
Nothing here passes or fails: the exit code is 0 when the run came to its end.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack

import machine
import yardstick
from background import redis_server
from command_log import commands_of
from monitor_cluster import commands_that_write
from scale_world import WORLDS, world
from terminal import Terminal

from bgtop.backends.redis_link import RedisLink, pack
from bgtop.backends.redis_url import parse_redis_url

_AT_ONCE = 5_000
_SLOW_US = 1_000
_PIECES, _PIECE_US = 6_000, 100
"""About as many and as long as the SCANs of a minute."""


def fill(link: RedisLink, keys: int) -> None:
    """Keys of some web application."""
    for start in range(0, keys, _AT_ONCE):
        numbers = range(start, min(start + _AT_ONCE, keys))
        link.exchange(
            pack(*(("SET", f"shop:session:{number:08d}", "x" * 20) for number in numbers))
        )


def watch(link: RedisLink, port: int, args: argparse.Namespace) -> None:
    """One run of bgtop in two halves: the slowlog without MONITOR, then the list of commands."""
    terminal = Terminal([args.bgtop, f"redis://127.0.0.1:{port}/0", "--interval", "1"])
    try:
        link.exchange(pack(("CONFIG", "RESETSTAT"), ("SLOWLOG", "RESET")))
        began = time.monotonic()
        late = yardstick.held_up(_PIECES, _PIECE_US, _SLOW_US)
        time.sleep(max(0.0, began + args.seconds - time.monotonic()))
        report_slow(link)
        print(f"of {_PIECES:,} pieces of {_PIECE_US} µs of our own, {late} took longer than that")
        tree = machine.process_tree(terminal.pid)
        sent = commands_of(tree, port, args.seconds / 2)
    finally:
        terminal.close()
    report_sent(sent, port)


def report_slow(link: RedisLink) -> None:
    """What took longer than a millisecond, whoever sent it, and how long a SCAN takes."""
    slow, stats, spread = link.exchange(
        pack(("SLOWLOG", "GET", "-1"), ("INFO", "commandstats"), ("INFO", "latencystats"))
    )
    entries = slow if isinstance(slow, list) else []
    names: Counter[str] = Counter()
    for entry in entries:
        if isinstance(entry, list) and isinstance(entry[3], list) and isinstance(entry[5], bytes):
            whose = "bgtop" if entry[5] == b"bgtop" else "others"
            word = entry[3][0]
            names[f"{whose}: {word.decode() if isinstance(word, bytes) else word}"] += 1
    print(f"slowlog at {_SLOW_US / 1000:g} ms: {len(entries)} commands {dict(names) or ''}")
    for info in (stats, spread):
        for line in info.decode().splitlines() if isinstance(info, bytes) else ():
            if "scan:" in line:
                print(f"  {line}")


def report_sent(sent: Counter[str], port: int) -> None:
    """Each command of bgtop's with its number."""
    print(f"commands: {sum(sent.values()):,}")
    for name, number in sent.most_common():
        print(f"  {name:<18}{number:>8,}")
    writing = sorted(set(sent) & commands_that_write(port))
    print(f"of which write: {', '.join(writing) or 'none'}")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code: 0 the run is over, 130 interrupted."""
    args = _arguments(argv)
    try:
        with ExitStack() as stack:
            port = stack.enter_context(redis_server())
            link = RedisLink(parse_redis_url(f"redis://127.0.0.1:{port}/0"), read_timeout=60.0)
            print(yardstick.words(port), flush=True)
            for system in WORLDS:
                crowd = {"queues": args.queues, "workers": args.workers, "beside_others": True}
                stack.enter_context(world(system, port, **crowd))
            fill(link, args.keys)
            link.exchange(pack(("CONFIG", "SET", "slowlog-log-slower-than", _SLOW_US)))
            watch(link, port, args)
            print(yardstick.words(port))
    except KeyboardInterrupt:
        return 130
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    beside = sys.executable.rpartition("/")[0]
    parser.add_argument("--bgtop", default=f"{beside}/bgtop", metavar="FILE")
    parser.add_argument("--keys", type=int, default=1_000_000, metavar="N", help="foreign ones")
    parser.add_argument("--queues", type=int, default=20, metavar="N", help="of each system")
    parser.add_argument("--workers", type=int, default=10, metavar="N", help="of each system")
    parser.add_argument("--seconds", type=float, default=60, metavar="S", help="of the slowlog")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
