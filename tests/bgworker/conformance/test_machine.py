"""The two engines do the same, whatever is done to both. More of it is in the soak tests."""

from __future__ import annotations

import pytest
import two_engines


@pytest.mark.timeout(600)
def test_two_engines_do_the_same() -> None:
    two_engines.check(examples=300, steps=24)
