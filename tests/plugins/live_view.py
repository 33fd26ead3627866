"""The command ``bgtop``, for :mod:`fork_server`, which starts modules."""

from __future__ import annotations

import sys

from bgtop.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
