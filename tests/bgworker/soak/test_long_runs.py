"""Fewer, longer lives of a queue, in both engines side by side."""

from __future__ import annotations

import pytest
import two_engines


@pytest.mark.timeout(600)
def test_five_hundred_longer_runs() -> None:
    two_engines.check(examples=500, steps=20)
