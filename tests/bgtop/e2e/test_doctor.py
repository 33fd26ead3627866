"""``bgtop doctor`` as people and programs see it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

from bgtop.symptoms import SYMPTOMS

Call = Callable[..., subprocess.CompletedProcess[str]]


def test_a_finding_with_its_evidence_and_what_mends_it(
    call: Call, redis_server: Any, make_rq: Callable[..., Any]
) -> None:
    make_rq(redis_server.url).put("mail", 2)
    url = f"rq+{redis_server.url}"

    text = call("doctor", url, "--for", "0")
    document = json.loads(call("doctor", url, "--for", "0", "--format", "json").stdout)

    assert (text.returncode, text.stderr) == (1, "")
    place = redis_server.url.partition("://")[2]
    assert text.stdout.splitlines()[:3] == [
        f"ERROR   {SYMPTOMS['no-consumer'].words}: mail, {place} (rq)  [no-consumer]",
        "        2 waiting, 0 consumers",
        f"        -> rq worker mail --url {redis_server.url}",
    ]
    [first, *_] = document["findings"]
    assert (first["code"], first["severity"], first["subject"]) == ("no-consumer", "error", "mail")


def test_nothing_to_complain_about(call: Call, redis_server: Any) -> None:
    done = call("doctor", f"rq+{redis_server.url}", "--for", "0")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("nothing to complain about in 127.0.0.1:")


def test_wrong_usage(call: Call) -> None:
    done = call("doctor", "redis://h", "--for", "-1")

    assert (done.returncode, done.stdout) == (2, "")
