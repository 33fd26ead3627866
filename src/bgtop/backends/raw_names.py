"""Names as a broker holds them, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    Key = TypeVar("Key")


def text(raw: bytes) -> str:
    """Bytes as text to show; each byte that is not UTF-8 becomes a backslash escape."""
    return raw.decode("utf-8", "backslashreplace")


def labels(names: Iterable[bytes]) -> dict[bytes, str]:
    """Names to show, each one unique, in the order of the raw ones."""
    return unique((name, text(name)) for name in sorted(names))


def unique(wanted: Iterable[tuple[Key, str]]) -> dict[Key, str]:
    """Labels by key: two raw names may read the same once decoded, so the later gets a mark."""
    found: dict[Key, str] = {}
    taken: set[str] = set()
    for key, label in wanted:
        while label in taken:
            label += "'"  # noqa: PLW2901  # until nobody has it
        taken.add(label)
        found[key] = label
    return found
