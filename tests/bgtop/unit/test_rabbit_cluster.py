"""What the management API says of nodes and consumers, whatever form it has."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bgtop.backends.rabbit_cluster import MOST_TOLD, counted, served, troubles


def test_a_healthy_node_is_no_news() -> None:
    healthy = {"name": "a", "running": True, "mem_alarm": False, "partitions": []}

    assert troubles([healthy, {"name": "b", "running": True}, {}]) == ()


def test_what_is_wrong_is_said_of_each_node() -> None:
    assert troubles(
        [
            {"name": "a", "running": False},
            {"name": "b\n", "mem_alarm": True, "disk_free_alarm": True},
            {"name": "c", "partitions": ["d"]},
        ]
    ) == (
        "the node 'a' is down",
        "the node 'b\\n' is short of memory: publishers are blocked",
        "the node 'b\\n' is short of disk space: publishers are blocked",
        "the node 'c' sees a partition of its cluster",
    )


def test_queues_are_put_together_by_their_connection() -> None:
    def row(queue: str, connection: str) -> dict:
        return {"queue": {"name": queue}, "channel_details": {"connection_name": connection}}

    assert served([row("a", "1"), row("b", "2"), row("c", "1"), {"queue": {"name": "d"}}]) == {
        "1": {"a", "c"},
        "2": {"b"},
    }


def test_consumers_are_counted_by_queue() -> None:
    rows = [{"queue": {"name": name}} for name in ("a", "b", "a")]

    assert counted([*rows, {"queue": {"name": 1}}, {"queue": "c"}, {}]) == {"a": 2, "b": 1}


VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.text())
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "name": VALUES,
        "running": VALUES,
        "mem_alarm": VALUES,
        "partitions": VALUES,
        "queue": VALUES | st.dictionaries(st.just("name"), VALUES),
        "channel_details": VALUES | st.dictionaries(st.just("connection_name"), VALUES),
    },
)


@given(st.lists(ROWS))
def test_no_form_is_trusted(rows: list[dict]) -> None:
    assert len(troubles(rows)) <= MOST_TOLD
    assert all(words.isprintable() for words in troubles(rows))
    assert all(isinstance(name, str) for name in counted(rows))
    assert all(isinstance(name, str) for queues in served(rows).values() for name in queues)
