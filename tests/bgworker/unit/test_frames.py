"""What the processes of a worker say to each other survives any cut and any content."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator

import pytest
import specimens
from hypothesis import given
from hypothesis import strategies as st

from bgworker.model import Claim
from bgworker.worker.frames import (
    INLINE_LIMIT,
    Order,
    Report,
    attachment,
    pack_order,
    pack_report,
    receive_order,
    take_reports,
    unpack_order,
    write_all,
)
from bgworker.worker.pool import Child, Pool, new_child

json_texts = st.recursive(
    st.none() | st.integers() | st.text(st.characters(codec=None), max_size=30),
    lambda v: st.lists(v, max_size=4) | st.dictionaries(st.text(max_size=5), v, max_size=4),
).map(json.dumps)
numbers = st.integers(0, 2**63 - 1)
reports = st.builds(
    Report,
    id=numbers.map(str),
    number=numbers,
    kind=st.sampled_from(["ok", "raised", "refused"]),
    started_at=numbers,
    micros=numbers,
    body=json_texts,
)


def claim(args: str, id_: int = 1, number: int = 1, attempts: int = 1) -> Claim:
    return specimens.claim(id_, number=number, args=args, attempts=attempts)


def packed(report: Report) -> bytes:
    order = Order(report.id, report.number, 0, 0, "")
    return pack_report(order, report.kind, report.started_at, report.micros, report.body)


@given(st.lists(reports, max_size=6), st.data())
def test_reports_survive_any_cut(sent: list[Report], data: st.DataObject) -> None:
    """Frames may be split at every byte; each comes out once, in order, as soon as it is whole."""
    stream = b"".join(packed(report) for report in sent)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    buffer, got, start = bytearray(), [], 0
    for cut in [*cuts, len(stream)]:
        buffer += stream[start:cut]
        start = cut
        got += take_reports(buffer)

    assert got == sent
    assert not buffer


def test_reports_survive_a_cut_at_every_byte() -> None:
    sent = [Report("7", 3, "ok", 5, 9, '"a\\nb"'), Report("8", 1, "raised", 5, 9, "{}")]
    stream = b"".join(packed(report) for report in sent)
    buffer, got = bytearray(), []
    for byte in stream:
        buffer.append(byte)
        got += take_reports(buffer)

    assert got == sent


@given(json_texts, numbers, numbers, st.integers(0, 5000), numbers)
def test_an_order_survives_its_way(
    args: str, id_: int, number: int, task: int, attempts: int
) -> None:
    message, content = pack_order(claim(args, id_, number, attempts), task)

    assert content is None
    assert unpack_order(message, None) == Order(str(id_), number, task, attempts, args)


@pytest.fixture
def child() -> Iterator[Child]:
    """As the supervisor sees it; the child's ends are read by the test."""
    child, jobs, report_end = new_child(0)
    os.close(jobs)
    os.close(report_end)
    child.pid = os.getpid()
    yield child
    child.close()


@pytest.mark.parametrize(
    "size", [0, 1, INLINE_LIMIT - 1, INLINE_LIMIT, INLINE_LIMIT + 1, 1_048_576]
)
def test_an_order_of_any_size_crosses_the_socket(child: Child, size: int) -> None:
    """Whether it fits a message or travels as a file: whole, and no descriptor stays open."""
    before = sorted(os.listdir("/proc/self/fd"))
    pool = Pool({"t": 4})
    pool.children[0] = child
    args = "x" * size
    pool.backlog.append(claim(args, 17, 2, 1))

    assert pool.dispatch() == []
    message, attached = receive_order(child.jobs_end)
    assert (attached is not None) is (size > INLINE_LIMIT)
    assert unpack_order(message, attached) == Order("17", 2, 4, 1, args)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_an_attached_file_is_private(child: Child) -> None:
    """No path leads to it, a started program does not inherit it, its offset is no trap."""
    fd = attachment(b"secret" * 20_000)

    assert not os.get_inheritable(fd)
    assert os.fstat(fd).st_nlink == 0 or "memfd" in os.readlink(f"/proc/self/fd/{fd}")
    assert unpack_order(b"1 1 0 0\n", fd).args == "secret" * 20_000
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_received_file_is_not_inherited(child: Child) -> None:
    pool = Pool({"t": 0})
    pool.children[0] = child
    pool.backlog.append(claim("x" * 100_000))
    pool.dispatch()
    _, attached = receive_order(child.jobs_end)

    assert attached is not None
    assert not os.get_inheritable(attached)
    os.close(attached)


def test_the_end_of_the_orders_is_an_empty_message(child: Child) -> None:
    child.jobs.close()

    assert receive_order(child.jobs_end, socket.MSG_DONTWAIT) == (b"", None)


def test_everything_is_written_to_a_pipe_that_is_read_slowly() -> None:
    """A pipe takes 64 kB at a time."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        write_all(write, b"ab" * 500_000)
        os._exit(0)
    os.close(write)
    got = bytearray()
    while data := os.read(read, 999):
        got += data
    os.close(read)

    assert os.waitpid(pid, 0)[1] == 0
    assert bytes(got) == b"ab" * 500_000
