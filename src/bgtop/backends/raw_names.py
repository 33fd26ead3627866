"""Names as a broker holds them, how an address gives them, and how they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from bgtop.contracts import Absent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Key = TypeVar("Key")


_MOST_CONFIGURED = 1_000
_MOST_QUOTED = 80


def configured_queues(url: str) -> tuple[bytes, ...]:
    """The names of ``?queue=mail&queue=reports``: queues to show also while they have no keys.

    Raises:
        ValueError: for an empty name, and for more names than make sense.
    """
    if "queue=" not in url:
        return ()
    from urllib.parse import unquote_to_bytes

    pairs = (part.partition("=") for part in url.partition("#")[0].partition("?")[2].split("&"))
    names = [unquote_to_bytes(value) for key, _, value in pairs if key == "queue"]
    if len(names) > _MOST_CONFIGURED or not all(names):
        raise ValueError("queue= in the address takes the name of a queue, as it is in its key")
    return tuple(dict.fromkeys(names))


def text(raw: bytes) -> str:
    """Bytes as text to show; each byte that is not UTF-8 becomes a backslash escape."""
    return raw.decode("utf-8", "backslashreplace")


def quoted(text: str) -> str:
    """What somebody named, as it is said in a message: on one line, and not long."""
    return repr(text if len(text) <= _MOST_QUOTED else text[: _MOST_QUOTED - 1] + "…")


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


def queue_named(label: str, labels: Mapping[Key, str]) -> Key:
    """The queue that is shown under this name; raises :class:`bgtop.contracts.NoSuchTarget`."""
    for key, shown in labels.items():
        if shown == label:
            return key
    raise Absent(f"there is no queue {quoted(label)}")
