"""Whether all of this run has run on another Python just before: then sizes may be smaller.

What differs between two Pythons is found by running every line and every test, not by hundreds of
examples of each. ``BGTOP_TEST_REPEATED`` is set by ``scripts/compat`` where ``make test`` uses it.
"""

from __future__ import annotations

import os
from typing import Final

REPEATED: Final = bool(os.environ.get("BGTOP_TEST_REPEATED"))
EXAMPLES: Final = 15 if REPEATED else 100
"""Of each property, unless its test says how many it needs."""
