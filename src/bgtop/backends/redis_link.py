"""How bgtop talks to Redis: RESP2 over a socket, parsed by hiredis (ADR 0002).

A :class:`RedisLink` sends pipelines and reads their replies; a :class:`RedisSubscription`
listens to channels. Both connect when first used, drop the connection at the first doubt about
its state (an error, a passed deadline), and connect again at the next use.

Replies are ``bytes``, ``int``, ``None``, lists of these, or a :class:`hiredis.ReplyError` value:
one refused command never hides the answers of the others.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

from hiredis import ReplyError

from bgtop.backends.redis_connection import Connection, Request, pack
from bgtop.backends.redis_errors import failure, refused_command, server_fault
from bgtop.contracts import BackendError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import TypeAlias

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_url import RedisAddress

    Part: TypeAlias = tuple[Sequence[Request], Callable[[Sequence[Reply]], object]]
    """What one part of a poll asks, and who takes the replies."""

    _Answered: TypeAlias = tuple[Callable[[Sequence[Reply]], object], Sequence[Reply]]

_BYTES_AT_ONCE = 128 * 1024
_TRIPS_ON_THEIR_WAY = 2

COMMANDS_PER_TRIP = 5_000
"""Above this a pipeline is cut, so that the server never holds a huge answer for us."""

SECONDS_REFUSED = 90.0
"""How long a refused command is spoken of: the rarest ones are asked once a minute."""

SILENCE_BEFORE_PING = 10.0
"""Seconds without any message after which a subscription asks whether its server lives."""

__all__ = ["RedisLink", "RedisSubscription", "Request", "pack"]


class _Client:
    """Owns at most one connection; used from one thread, closed from any."""

    def __init__(
        self, address: RedisAddress, *, connect_timeout: float = 3.0, read_timeout: float = 5.0
    ) -> None:
        self.address = address
        self.commands = 0
        self.round_trips = 0
        self.version: str | None = None
        """The server's version once connected; ``None`` when it does not tell."""
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._connection: Connection | None = None
        self._busy = threading.Lock()
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a connection is held; the other side may have left it meanwhile."""
        return self._connection is not None

    def close(self) -> None:
        """Free the socket; a use under way in another thread ends at once. Safe to repeat."""
        self._closed = True
        connection = self._connection
        if connection is not None:
            connection.wake()
        # Only the thread that uses a socket may free it: its number could be given away anew.
        if self._busy.acquire(blocking=False):
            try:
                self._drop()
            finally:
                self._busy.release()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _ready(self) -> Connection:
        """The held connection, or a new one."""
        connection = self._connection
        if connection is None:
            connection = self._connect()
            self._connection = connection
            self.version = connection.version
            self.round_trips += connection.round_trips
        return connection

    def _connect(self) -> Connection:
        timeouts = self._connect_timeout, self._read_timeout
        if self.address.sentinels is None:
            return Connection(self.address, *timeouts)
        from bgtop.backends.redis_sentinel import connect_to_master

        return connect_to_master(self.address, self.address.sentinels, *timeouts)

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Be the only user; a failure drops the connection and is told in our words."""
        try:
            with self._busy:
                try:
                    self._refuse_when_closed()
                    yield
                except BaseException as error:
                    self._drop()
                    self._refuse_when_closed()
                    known = failure(error, self.address, self._read_timeout)
                    if known is None:
                        raise
                    raise known from error
        finally:
            # A close() that met the lock taken left the socket to us.
            if self._closed:
                self.close()

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise Unreachable(f"the connection to {self.address.place} was closed")


class RedisLink(_Client):
    """Pipelines to one server, counted in ``commands`` and ``round_trips``."""

    def __init__(
        self, address: RedisAddress, *, connect_timeout: float = 3.0, read_timeout: float = 5.0
    ) -> None:
        super().__init__(address, connect_timeout=connect_timeout, read_timeout=read_timeout)
        self._refused: dict[str, float] = {}

    def not_permitted(self, *harmless: str) -> list[str]:
        """A line that names the commands we lately had no right to, if there were any.

        ``harmless`` are those without which nothing is missing.
        """
        since = monotonic() - SECONDS_REFUSED
        self._refused = {name: at for name, at in self._refused.items() if at > since}
        names = sorted(self._refused.keys() - set(harmless))
        if not names:
            return []
        return [f"not permitted: {', '.join(names)}"]

    def _note_refusals(self, replies: Sequence[Reply]) -> None:
        for reply in replies:
            command = refused_command(reply) if isinstance(reply, ReplyError) else None
            if command is not None:
                self._refused[command] = monotonic()

    def ask(
        self,
        *parts: Part,
        at_once: int = COMMANDS_PER_TRIP,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        """Send what several parts ask, and give each that asked its own replies as they come.

        ``meanwhile`` is done while the server works on the first of it, also if nothing is asked;
        it may not use this link.

        Raises what :meth:`exchange` raises: then some parts were given nothing. The first error
        a part raises is raised again when all have been given theirs.
        """
        fault: BackendError | None = None
        asking = [part for part in parts if part[0]]
        if not asking and meanwhile is not None:
            meanwhile()
        for absorb, replies in self._answered(asking, at_once, meanwhile):
            try:
                absorb(replies)
            except BackendError as error:
                fault = fault or error
        if fault is not None:
            raise fault

    def exchange(self, *requests: Request, at_once: int = COMMANDS_PER_TRIP) -> list[Reply]:
        """Send everything, then read every reply, in order, within the read timeout.

        Above ``at_once`` commands it takes several round trips: raise that only where all answers
        are short. Refusals of single commands come back as values.

        Raises:
            BackendError: when the server cannot be used at all.
        """
        replies: list[Reply] = []
        self.ask((requests, replies.extend), at_once=at_once)
        return replies

    def _answered(
        self, parts: Sequence[Part], at_once: int, meanwhile: Callable[[], object] | None
    ) -> Iterator[_Answered]:
        """Each part as soon as it is answered, so that no more is in memory than need be."""
        if not parts:
            return
        trips = _trips((request for asked, _ in parts for request in asked), at_once)
        with self._using():
            pipeline = _Pipeline(self._ready_to_ask(), trips, self._read_timeout)
            try:
                pipeline.send_ahead()
                if meanwhile is not None:
                    meanwhile()
                    pipeline.wait_from_now()
                for number, (asked, absorb) in enumerate(parts):
                    replies = pipeline.receive(sum(request.replies for request in asked))
                    if ReplyError in map(type, replies):
                        self._note_refusals(replies)
                    fault = server_fault(replies[0], self.address.place) if number == 0 else None
                    if fault is not None:
                        raise fault
                    yield absorb, replies
            finally:
                self.round_trips += pipeline.round_trips
                self.commands += pipeline.commands

    def _ready_to_ask(self) -> Connection:
        if self._connection is not None and self._connection.is_stale():
            self._drop()
        return self._ready()


class _Pipeline:
    """Trips on their way over one connection: one more is sent before one has been answered.

    So the server does not wait while we look at its answers, and never holds more than two.
    """

    def __init__(
        self, connection: Connection, trips: Iterator[Sequence[Request]], read_timeout: float
    ) -> None:
        self.round_trips = 0
        self.commands = 0
        self._connection = connection
        self._trips = trips
        self._read_timeout = read_timeout
        self._sent: deque[int] = deque()
        """How many replies each trip still brings."""
        self._deadline = 0.0
        self.wait_from_now()

    def wait_from_now(self) -> None:
        """Begin the time anew in which everything has to be answered."""
        self._deadline = monotonic() + self._read_timeout

    def send_ahead(self) -> None:
        """Have two trips on their way, if there are as many."""
        while len(self._sent) < _TRIPS_ON_THEIR_WAY and (trip := next(self._trips, None)):
            replies = sum(request.replies for request in trip)
            for piece in _pieces(trip):
                self._connection.send(piece, self._deadline)
            self._sent.append(replies)
            self.round_trips += 1
            self.commands += replies

    def receive(self, count: int) -> list[Reply]:
        """The next replies; as many have been asked for."""
        replies: list[Reply] = []
        while len(replies) < count:
            some = min(count - len(replies), self._sent[0])
            replies += self._connection.receive(some, self._deadline)
            self._sent[0] -= some
            if not self._sent[0]:
                self._sent.popleft()
                self.send_ahead()
        return replies


def _trips(requests: Iterable[Request], at_once: int) -> Iterator[list[Request]]:
    trip: list[Request] = []
    count = 0
    for request in requests:
        if trip and count + request.replies > at_once:
            yield trip
            trip, count = [], 0
        trip.append(request)
        count += request.replies
    if trip:
        yield trip


def _pieces(trip: Iterable[Request]) -> Iterator[bytes]:
    """What is sent at once: usually all, but megabytes are not in memory a second time."""
    payloads: list[bytes] = []
    size = 0
    for request in trip:
        payloads.append(request.payload)
        size += len(request.payload)
        if size > _BYTES_AT_ONCE:
            yield b"".join(payloads)
            payloads, size = [], 0
    if payloads:
        yield b"".join(payloads)


class RedisSubscription(_Client):
    """Messages of channel patterns, read when asked for and never in a thread of its own."""

    def __init__(
        self, address: RedisAddress, *, connect_timeout: float = 3.0, read_timeout: float = 5.0
    ) -> None:
        super().__init__(address, connect_timeout=connect_timeout, read_timeout=read_timeout)
        self._waiting: list[tuple[bytes, bytes]] = []
        self._heard_at = 0.0
        self._pinged_at: float | None = None

    def subscribe(self, pattern: bytes) -> ReplyError | None:
        """Listen to the channels of ``pattern``, connecting if need be; the refusal if refused."""
        with self._using():
            connection = self._ready()
            deadline = monotonic() + self._read_timeout
            connection.send(pack(("PSUBSCRIBE", pattern)).payload, deadline)
            self.commands += 1
            self.round_trips += 1
            self._heard_at, self._pinged_at = monotonic(), None
            while True:
                reply = connection.receive(1, deadline)[0]
                fault = server_fault(reply, self.address.place)
                if fault is not None:
                    raise fault
                if isinstance(reply, ReplyError):
                    return reply
                if isinstance(reply, list) and reply[:2] == [b"psubscribe", pattern]:
                    return None
                self._keep(reply)

    def messages(self, timeout: float = 0.0) -> list[tuple[bytes, bytes]]:
        """The (channel, payload) pairs that arrived; waits up to ``timeout`` seconds for any bytes.

        Those may be a part of a message only: an empty list does not mean that the time is over.

        Raises:
            BackendError: when the connection is lost; subscribe again then.
        """
        with self._using():
            if self._connection is None:
                raise EOFError
            for reply in self._connection.arrived(0.0 if self._waiting else timeout):
                self._heard_at, self._pinged_at = monotonic(), None
                self._keep(reply)
            self._prove_alive(self._connection)
            messages, self._waiting = self._waiting, []
        return messages

    def _keep(self, reply: Reply) -> None:
        match reply:
            case [b"pmessage", bytes(), bytes(channel), bytes(payload)]:
                self._waiting.append((channel, payload))

    def _prove_alive(self, connection: Connection) -> None:
        """Silence on a subscription is also what a dead network sounds like: ask."""
        now = monotonic()
        if self._pinged_at is not None and now - self._pinged_at > self._read_timeout:
            raise TimeoutError
        if self._pinged_at is None and now - self._heard_at > SILENCE_BEFORE_PING:
            connection.send(pack(("PING",)).payload, now + self._read_timeout)
            self.commands += 1
            self._pinged_at = now
