"""The engine without a file: for tests, and as the plainest statement of the rules."""

from __future__ import annotations
