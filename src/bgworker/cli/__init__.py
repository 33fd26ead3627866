"""The command ``bgworker``: one module per family of commands, each imported for what it needs."""

from bgworker.cli.main import main

__all__ = ["main"]
