"""The two engines do the same, whatever is done to both. More of it is in the soak tests."""

from __future__ import annotations

import tempfile

import pytest
import two_engines


@pytest.mark.timeout(600)
def test_two_engines_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", two_engines.IN_MEMORY)
    two_engines.check(examples=300, steps=24)
