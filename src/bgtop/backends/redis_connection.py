"""One socket to Redis: opening it, logging in, and moving bytes against a deadline."""

from __future__ import annotations

import select
import socket
from contextlib import suppress
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

import hiredis
from hiredis import ReplyError

from bgtop.backends.redis_errors import failure, hello_fields, login_fault, server_fault
from bgtop.contracts import BackendError, Unreachable, WrongSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from bgtop.backends.redis_url import RedisAddress, Tls

    Reply: TypeAlias = bytes | int | ReplyError | list["Reply"] | None

MOST_BYTES = 64 * 1024 * 1024
"""What one exchange may answer; a reply beyond it is a mistake we refuse to hold in memory."""

_INCOMPLETE = object()
"""Says that the next reply has not arrived as a whole; equal to no reply."""

_CHUNK = 64 * 1024
_CHUNKS_PER_READ = 128


class Request(NamedTuple):
    """Packed commands and how many replies they bring; build it once, send it often."""

    payload: bytes
    replies: int


def pack(*commands: Sequence[bytes | str | int]) -> Request:
    """Turn commands (``("LLEN", b"mail")``) into one request."""
    # The stub of pack_command allows tuples of one element only.
    packed = [hiredis.pack_command(tuple(command)) for command in commands]  # type: ignore[arg-type]
    return Request(b"".join(packed), len(commands))


class Connection:
    """One logged-in socket, from connect to the first error."""

    def __init__(self, address: RedisAddress, connect_timeout: float, read_timeout: float) -> None:
        self._address = address
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self.version: str | None = None
        self.role: str | None = None
        """``master`` or ``replica``; ``None`` when the server does not tell."""
        self.round_trips = 1
        """What it took to get here."""
        # How a read says "nothing here yet"; TLS has a word of its own.
        self._no_data: tuple[type[OSError], ...] = (BlockingIOError, TimeoutError)
        try:
            self._socket = _open_socket(address, connect_timeout)
        except (OSError, UnicodeError) as error:
            raise failure(error, address, connect_timeout) or error from error
        self._news = select.poll()
        self._news.register(self._socket, select.POLLIN)
        try:
            if address.tls is not None:
                self._start_tls(address.tls, read_timeout)
            self._log_in(monotonic() + read_timeout)
        except BaseException as error:
            self._socket.close()
            known = failure(error, address, read_timeout)
            if known is None:
                raise
            raise known from error

    def _start_tls(self, tls: Tls, timeout: float) -> None:
        import ssl

        try:
            context = ssl.create_default_context(cafile=tls.ca_certs)
            if tls.certfile is not None:
                context.load_cert_chain(tls.certfile, tls.keyfile)
        except OSError as error:
            raise WrongSource(
                f"the certificate files for {self._address.place} cannot be read: {error.strerror}"
            ) from error
        if not tls.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._socket.settimeout(timeout)
        try:
            self._socket = context.wrap_socket(self._socket, server_hostname=self._address.host)
        except TimeoutError as error:
            # A plain Redis takes the greeting of TLS for an unfinished command, and waits.
            switch = self._address.tls_switch
            plain = "redis:// there" if switch == "rediss://" else f"without {switch}"
            raise Unreachable(
                f"no TLS from {self._address.place} within {timeout:g} s; is it {plain}?"
            ) from error
        self._no_data = (*self._no_data, ssl.SSLWantReadError)

    def _log_in(self, deadline: float) -> None:
        """One round trip; HELLO tells version and role without the right to INFO."""
        address = self._address
        steps: list[Sequence[bytes | str | int]] = []
        if address.password is not None:
            user = (address.username,) if address.username else ()
            steps.append(("AUTH", *user, address.password))
        steps += [("HELLO", "2"), ("CLIENT", "SETNAME", "bgtop")]
        if address.db:
            steps.append(("SELECT", address.db))
        try:
            self.send(pack(*steps).payload, deadline)
            replies = self.receive(len(steps), deadline)
        except (EOFError, ConnectionError) as error:
            wants = f"; does it want {address.tls_switch} (TLS)?"
            hint = "" if address.tls or address.path else wants
            raise Unreachable(f"{address.place} hung up at log-in{hint}") from error
        named = {str(step[0]): reply for step, reply in zip(steps, replies, strict=True)}
        fault = login_fault(named, address)
        if fault is not None:
            raise fault
        self.version = _word(named["HELLO"], b"version")
        self.role = _word(named["HELLO"], b"role")

    def send(self, payload: bytes, deadline: float) -> None:
        """Write everything before ``deadline``, or raise ``TimeoutError``."""
        self._socket.settimeout(_remaining(deadline))
        self._socket.sendall(payload)

    def receive(self, count: int, deadline: float) -> list[Reply]:
        """Read exactly ``count`` replies before ``deadline``."""
        replies: list[Reply] = []
        received = 0
        while True:
            replies += islice(self._complete(), count - len(replies))
            if len(replies) == count:
                return replies
            self._socket.settimeout(_remaining(deadline))
            try:
                received += self._feed()
            except (EOFError, ConnectionError):
                # A server that is full or protected says so once and hangs up.
                fault = server_fault(replies[-1] if replies else None, self._address.place)
                if fault is not None:
                    raise fault from None
                raise
            if received > MOST_BYTES:
                raise BackendError(f"{self._address.place} answers more than we can hold")

    def _complete(self) -> Iterator[Reply]:
        """The replies that are here as a whole."""
        return iter(self._reader.gets, _INCOMPLETE)

    def _feed(self) -> int:
        """Read once from the socket, waiting as long as its timeout says."""
        data = self._socket.recv(_CHUNK)
        if not data:
            raise EOFError
        self._reader.feed(data)
        return len(data)

    def arrived(self, timeout: float) -> list[Reply]:
        """Every reply that is here; waits up to ``timeout`` only when there is none."""
        self._socket.settimeout(timeout)
        try:
            for _ in range(_CHUNKS_PER_READ):
                self._feed()
                self._socket.settimeout(0)
        except self._no_data:
            pass
        return [*self._complete()]

    def is_stale(self) -> bool:
        """Whether the other side left an idle connection, seen before it is used.

        Looking first, instead of repeating what failed, never runs a command twice. Nothing may
        arrive between exchanges: data means we lost count of the replies. Not so with TLS, whose
        own words may come at any time; there the next exchange finds out.
        """
        return self._address.tls is None and bool(self._news.poll(0))

    def wake(self) -> None:
        """End a wait in another thread, leaving the descriptor to its owner."""
        with suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Free the descriptor."""
        self._socket.close()


def _open_socket(address: RedisAddress, timeout: float) -> socket.socket:
    if address.path is not None:
        local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            local.settimeout(timeout)
            local.connect(address.path)
        except BaseException:
            local.close()
            raise
        return local
    host: str | bytes = address.host
    if address.host.isascii():
        # As text it would be looked at for letters beyond ASCII, which loads 0.4 MB for that.
        host = address.host.encode()
    link = socket.create_connection((host, address.port), timeout)  # type: ignore[arg-type]
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # A peer that vanished without a word is found in a minute, not after the system's two hours.
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    return link


def _remaining(deadline: float) -> float:
    seconds = deadline - monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def _word(hello: Reply, name: bytes) -> str | None:
    word = hello_fields(hello).get(name)
    return word.decode("ascii", "backslashreplace") if isinstance(word, bytes) else None
