"""The rights docs/reference/redis-access.md recommends, as it is written there."""

from __future__ import annotations

import re
from pathlib import Path

import redis

PAGE = Path(__file__).parents[2] / "docs/reference/redis-access.md"


def operator_url(admin: redis.Redis, port: int, system: str) -> str:
    """Make the user who may watch this system and act on it; the URL it logs in with."""
    text = PAGE.read_text()
    rights = ""
    for first in ("[~&]", "[+]"):
        row = re.search(
            rf"^\| {system} \| `({first}[^`]*)` \|$", text, re.MULTILINE | re.IGNORECASE
        )
        assert row, f"{PAGE} has no row for {system}"
        rights += " " + row[1].replace("\\|", "|")
    user = ("ACL", "SETUSER", "operator", "reset", "on", ">secret")
    admin.execute_command(*user, *rights.split())
    return f"redis://operator:secret@127.0.0.1:{port}/0"
