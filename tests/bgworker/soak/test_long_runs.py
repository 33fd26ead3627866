"""Fewer, longer lives of a queue, in both engines side by side."""

from __future__ import annotations

import tempfile

import pytest
import two_engines


@pytest.mark.timeout(600)
def test_seven_hundred_longer_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", two_engines.IN_MEMORY)
    two_engines.check(examples=700, steps=28)
