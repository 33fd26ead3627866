"""Many short lives of a queue, in both engines side by side."""

from __future__ import annotations

import pytest
import two_engines


@pytest.mark.timeout(600)
def test_twelve_hundred_short_runs() -> None:
    two_engines.check(examples=1200, steps=12)
