"""The renderer of the guide passes the tests it is told to pass, all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from forked_stage import ForkedStage

from bgtop.testing import RendererSuite

GUIDE = Path(__file__).parents[3] / "docs/writing-a-renderer.md"
FILE = re.compile(
    r"<!-- file: (bgtop_ink\.py) -->\n```python\n(.+?)^```$", re.MULTILINE | re.DOTALL
)


class TestInk(ForkedStage, RendererSuite):
    plugin = "bgtop_ink:plugin"

    @pytest.fixture(autouse=True)
    def _installed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        [(name, text)] = FILE.findall(GUIDE.read_text())
        (tmp_path / name).write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
