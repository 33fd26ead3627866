"""Looking at a real source as the doctor does, until it finds what a test has brought about."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from bgtop.acting import Hands
from bgtop.cli.feeds import open_feeds
from bgtop.config import Arguments, load_config
from bgtop.contracts import Interest
from bgtop.model import Finding
from bgtop.state.findings import findings_of
from bgtop.testing import wait_until


def diagnose(
    url: str, *codes: str, act: Callable[[], object] = lambda: None, **options: str
) -> dict[str, Finding]:
    """All findings by code, once those of ``codes`` are among them; ``act`` is between looks."""
    config = load_config(Arguments(sources=[url], options=options), {"HOME": "/nowhere"})
    frames = []
    found: dict[str, Finding] = {}

    def look() -> bool:
        frames.append(hands.look(Interest(checkup=True)))
        found.clear()
        found.update({case.finding.code: case.finding for case in findings_of(frames)})
        act()
        return set(codes) <= set(found)

    with closing(Hands(open_feeds(config), config, report=print)) as hands:
        wait_until(look, seconds=40, every=0.5, why=f"the doctor finds {', '.join(codes)}")
    return found
