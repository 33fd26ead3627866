"""What only Huey's own keys show to be wrong: asked by the doctor, in one round trip of reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bgtop.backends.huey.wire import RESULTS
from bgtop.backends.redis_link import pack
from bgtop.symptoms import finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bgtop.backends.redis_link import RedisLink
    from bgtop.model import Finding

MOST_QUEUES: Final = 1_000
KEPT: Final = 1_000
"""Results from which nobody seems to fetch them; locks and revocations lie there as well."""


def findings(link: RedisLink, labels: Mapping[bytes, str]) -> Iterator[Finding]:
    """``labels`` are the queues with the names they are shown by.

    A result stays in the hash until somebody reads it through Huey, which deletes it.
    """
    names = [*labels][:MOST_QUEUES]
    if not names:
        return
    replies = link.exchange(pack(*(("HLEN", RESULTS + name) for name in names)))
    for name, held in zip(names, replies, strict=True):
        if isinstance(held, int) and held >= KEPT:
            yield finding(
                "results-kept",
                labels[name],
                f"{held} results nobody has fetched have no expiry",
                "huey.storage.flush_results() for those that are there; then "
                "RedisExpireHuey(…, expire_time=86400), or results=False where nobody reads them",
            )
