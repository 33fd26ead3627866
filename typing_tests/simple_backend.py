"""What the author of a backend writes is what the contract wants, also to a type checker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bgtop.contracts import Backend, BackendPlugin, Settings
from bgtop.simple import SimpleBackend


class Mine(SimpleBackend):
    """The shortest one."""

    system, broker = "mine", "memory"

    def queue_names(self) -> list[str]:
        """Always the same."""
        return ["mail"]

    def queue_lengths(self, names: Sequence[str], /) -> Mapping[str, int]:
        """Always nothing."""
        return dict.fromkeys(names, 0)


plugin = BackendPlugin(name="mine", summary="mine", schemes=("mine",), open=Mine)
backend: Backend = plugin.open("mine://here", Settings())
