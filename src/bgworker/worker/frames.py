"""What the processes of a worker say to each other, as bytes.

Jobs go to a child as one message each on a SOCK_SEQPACKET socket: the kernel hands a message to
exactly one reader, so the supervisor can take back what a child has not read yet. Endings come back
on a pipe as length-prefixed frames. Neither is ever a task's stdout.
"""

from __future__ import annotations

import array
import os
import socket
import struct

from bgworker.model import PAYLOAD_CAP, Claim, Millis
from bgworker.values import dataclass

CONTROL_FD = 198
"""The zygote's end of its socket: a number out of the way of what an application opens."""
CHUNK = 32 * 1024
"""Bytes of one message to or from the zygote; what is longer is sent in parts."""
INLINE_LIMIT = 64 * 1024
"""Larger arguments travel as an open, unlinked file: a socket's buffer is about 200 kB."""
MESSAGE_LIMIT = INLINE_LIMIT + 4096
REPORT_LIMIT = PAYLOAD_CAP + 4096
KINDS = frozenset({"ok", "raised", "refused", "said"})

_LENGTH = struct.Struct("<I")
_ROOM_FOR_A_FD = socket.CMSG_SPACE(array.array("i").itemsize)
_ROOM_FOR_TWO_FDS = socket.CMSG_SPACE(2 * array.array("i").itemsize)
# A plain number: to combine two of the library's flags takes longer than to receive a message.
_CLOSE_ON_EXEC = int(getattr(socket, "MSG_CMSG_CLOEXEC", 0))


class Garbled(ValueError):
    """A child's pipe holds something that the child did not write."""


@dataclass(frozen=True, slots=True)
class Order:
    """A job as a child sees it; ``task`` is its number in the zygote's list."""

    id: str
    number: int
    task: int
    attempt: int
    args: str


@dataclass(frozen=True, slots=True)
class Report:
    """How a run ended: ``ok`` with a result, ``raised`` or ``refused`` with an error, as JSON.

    Before that it may have ``said`` how far it is; ``started_at`` is then when it said so.
    """

    id: str
    number: int
    kind: str
    started_at: Millis
    micros: int
    body: str


def pack_order(claim: Claim, task: int) -> tuple[bytes, bytes | None]:
    """The message for a claim, and what has to travel as a file beside it."""
    head = f"{claim.id} {claim.number} {task} {claim.attempts}\n".encode()
    body = claim.args.encode()
    return (head + body, None) if len(body) <= INLINE_LIMIT else (head, body)


def receive_order(jobs: socket.socket, flags: int = 0) -> tuple[bytes, int | None]:
    """One message (empty: the other end is closed) and the file that came with it."""
    message, ancillary, _, _ = jobs.recvmsg(MESSAGE_LIMIT, _ROOM_FOR_A_FD, flags | _CLOSE_ON_EXEC)
    if not ancillary:
        return message, None
    fds = array.array("i")
    fds.frombytes(ancillary[0][2][: fds.itemsize])
    return message, fds[0]


def receive_fds(control: socket.socket) -> tuple[bytes, list[int]]:
    """One message and the descriptors (at most two) that came with it, closed on exec."""
    fds = array.array("i")
    message, ancillary, _, _ = control.recvmsg(2 * CHUNK, _ROOM_FOR_TWO_FDS, _CLOSE_ON_EXEC)
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    return message, list(fds)


def unpack_order(message: bytes, attached: int | None) -> Order:
    """The inverse; reads and closes the attached file."""
    head, _, body = message.partition(b"\n")
    if attached is not None:
        with open(attached, "rb") as file:
            file.seek(0)
            body = file.read()
    id_, number, task, attempt = head.decode().split(" ")
    return Order(id_, int(number), int(task), int(attempt), body.decode())


def pack_report(order: Order, kind: str, started_at: Millis, micros: int, body: str) -> bytes:
    """A frame for the pipe."""
    data = f"{order.id} {order.number} {kind} {started_at} {micros}\n{body}".encode()
    return _LENGTH.pack(len(data)) + data


def take_reports(buffer: bytearray) -> list[Report]:
    """The complete frames at the head of ``buffer``, which are removed from it.

    Raises:
        Garbled: what comes first is no frame. Good ones before it are returned by an earlier call.
    """
    reports = []
    start = 0
    try:
        with memoryview(buffer) as view:  # else each frame would be copied to be read
            while len(view) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(view, start)
                end = start + _LENGTH.size + length
                if len(view) < end and length <= REPORT_LIMIT:
                    break
                reports.append(_report(view[start + _LENGTH.size : end], length))
                start = end
    except ValueError as error:
        if not reports:
            raise Garbled(str(error)) from None
    del buffer[:start]
    return reports


def begins(buffer: bytearray, claim: Claim) -> bool:
    """Whether the frame at the head of ``buffer``, as far as it is there, reports this claim."""
    head = f"{claim.id} {claim.number} ".encode()
    found = buffer[_LENGTH.size : _LENGTH.size + len(head)]
    return head.startswith(bytes(found))


def _report(frame: memoryview, length: int) -> Report:
    if length > REPORT_LIMIT:
        raise ValueError("longer than any report")
    head, _, body = str(frame, "utf-8").partition("\n")
    id_, number, kind, started_at, micros = head.split(" ")
    if kind not in KINDS:
        raise ValueError(f"no report is called {kind!r}")
    return Report(id_, int(number), kind, int(started_at), int(micros), body)


def write_all(fd: int, data: bytes) -> None:
    """Write to a blocking descriptor until everything is written."""
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])


def attachment(data: bytes) -> int:
    """An open file with this content that no path leads to."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("bgworker", os.MFD_CLOEXEC)
    else:
        import tempfile

        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    write_all(fd, data)
    return fd
