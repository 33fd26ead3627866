"""How bgtop talks AMQP to RabbitMQ: passive declarations, many at once, and one queue of our own.

A passive declaration asks how many messages wait in a queue and how many consumers it has. It is
live, changes nothing and needs no right beyond the vhost; since RabbitMQ 4.2.6 it needs some right
to the queue (to configure it in 4.2.6 and 4.3.0, then any). Its refusal (404 for a queue that is
not there, 403 without the right) closes the channel, and the broker logs it: so what is known to
exist shares one channel, and what is doubtful has one each and is better not asked often.

Connects when first used, drops the connection at the first doubt about its state, and connects
again at the next use. py-amqp does the protocol; all that is asked in one trip is sent before the
first answer is read.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from amqp import spec

from bgtop.backends.one_user import OneUser
from bgtop.backends.rabbit_channels import Asking, Refused, connect
from bgtop.backends.rabbit_errors import broker_failure, login_failure
from bgtop.backends.rabbit_url import LONGEST_NAME
from bgtop.contracts import BackendError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import amqp

    from bgtop.backends.rabbit_channels import Size
    from bgtop.backends.rabbit_url import RabbitAddress

T = TypeVar("T")

QUEUES_PER_TRIP = 5_000
CHANNELS_PER_TRIP = 100
"""Doubtful names of one trip; RabbitMQ allows 2,047 channels by default."""

TRIPS_OF_LOGIN = 3


IMPOSSIBLE = Refused(404, "no queue has such a name")
"""What is answered without asking: the question could not be put, or would end the connection."""

_ONLY_TEXT: Final = (4, 1)
"""RabbitMQ 4.0 still takes names that are no UTF-8; 4.3 answers them with a frame error."""


class Sizes(NamedTuple):
    """The answers by queue."""

    found: dict[str, Size]
    refused: dict[str, Refused]

    @property
    def forbidden(self) -> frozenset[str]:
        """The queues we have no right to ask for."""
        return frozenset(name for name, refused in self.refused.items() if refused.forbidden)


class RabbitLink:
    """One connection to one vhost; ``round_trips`` and ``commands`` count what was asked."""

    def __init__(
        self, address: RabbitAddress, *, connect_timeout: float = 3.0, read_timeout: float = 5.0
    ) -> None:
        self.address = address
        self.commands = 0
        self.round_trips = 0
        self.version: str | None = None
        """The broker's version once connected."""
        self.logins = 0
        """Grows with each new connection: what belonged to the last one is gone."""
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._connection: amqp.Connection | None = None
        self._asking: Asking | None = None
        self._use = OneUser(address.place, self._wake, self._drop)

    def close(self) -> None:
        """Free the socket; a use under way in another thread ends at once. Safe to repeat."""
        self._use.close()

    def _wake(self) -> None:
        connection = self._connection
        with suppress(OSError, AttributeError):
            if connection is not None:
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _drop(self) -> None:
        connection, self._connection, self._asking = self._connection, None, None
        if connection is None:
            return
        if self._use.closed:
            # Else the broker's log warns of a lost client. A broker that hangs must not keep us.
            with suppress(Exception):
                connection.send_method(spec.Connection.Close, "BsBB", (200, "", 0, 0))
        connection.collect()

    def sizes(self, known: Sequence[str], doubtful: Sequence[str] = ()) -> Sizes:
        """How many messages are ready in these queues, and how many consumers they have.

        One round trip when all of ``known`` exist and ``doubtful`` are few. The first of ``known``
        that is forbidden is the last that is asked for: the others have no answer.

        Raises:
            BackendError: when the broker cannot be used at all.
        """
        if not known and not doubtful:
            self.knock()
        return self.use(lambda connection: self._sizes(connection, known, doubtful))

    def knock(self) -> None:
        """Prove that the broker answers.

        Raises:
            BackendError: when it does not.
        """
        self.use(self._knock)

    def _knock(self, connection: amqp.Connection) -> None:
        connection.channel().close()
        self.round_trips += 2

    def use(self, ask: Callable[[amqp.Connection], T]) -> T:
        """Do what only reads, or can be done twice, connecting if need be.

        A connection that turns out to be lost is replaced once.

        Raises:
            BackendError: when the broker cannot be used at all.
        """
        with self._use.using():
            reused = self._connection is not None
            try:
                return self._try(ask)
            except Unreachable as error:
                # Who does not answer would not answer a second time either.
                if not reused or isinstance(error.__cause__, TimeoutError):
                    raise
                self._drop()
            return self._try(ask)

    def act(self, do: Callable[[amqp.Connection], T]) -> T:
        """Do what must not be done twice, over a connection that has just answered.

        Raises:
            BackendError: when the broker cannot be used; then it is not known whether it was done.
        """
        self.knock()
        with self._use.using():
            return self._try(do)

    def _try(self, ask: Callable[[amqp.Connection], T]) -> T:
        connection = self._connection or self._open()
        try:
            return ask(connection)
        except BackendError:
            raise
        except Exception as error:
            raise broker_failure(error, self.address, self._read_timeout) from error

    def _open(self) -> amqp.Connection:
        try:
            connection = connect(self.address, self._connect_timeout, self._read_timeout)
        except BackendError:
            raise
        except Exception as error:
            raise login_failure(error, self.address, self._connect_timeout) from error
        self._connection = connection
        self.logins += 1
        self.round_trips += TRIPS_OF_LOGIN
        version = connection.server_properties.get("version")
        self.version = version if isinstance(version, str) else None
        return connection

    def _sizes(
        self, connection: amqp.Connection, known: Sequence[str], doubtful: Sequence[str]
    ) -> Sizes:
        sizes = Sizes({}, {})
        unsure = [name for name in doubtful if can_be(name, self.version)]
        sizes.refused.update((name, IMPOSSIBLE) for name in {*doubtful}.difference(unsure))
        for start in range(0, len(known), QUEUES_PER_TRIP):
            left = self._ask_on_one(connection, known[start : start + QUEUES_PER_TRIP], sizes)
            if sizes.forbidden:
                break
            unsure += left
        for start in range(0, len(unsure), CHANNELS_PER_TRIP):
            self._ask_on_many(connection, unsure[start : start + CHANNELS_PER_TRIP], sizes)
        return sizes

    def _ask_on_one(
        self, connection: amqp.Connection, names: Sequence[str], sizes: Sizes
    ) -> list[str]:
        """Ask on the channel that is kept; the names that were not answered."""
        asking = self._asking = self._asking or Asking(connection)
        self._await(connection, [(asking, names)])
        answered = asking.take(sizes.found, sizes.refused)
        if asking.is_open:
            return []
        asking.collect()
        self._asking = None
        return [*names[answered:]]

    def _ask_on_many(self, connection: amqp.Connection, names: Sequence[str], sizes: Sizes) -> None:
        asked = [(Asking(connection), [name]) for name in names]
        self._await(connection, asked)
        for asking, _ in asked:
            asking.take(sizes.found, sizes.refused)
            asking.leave()

    def _await(
        self, connection: amqp.Connection, asked: Iterable[tuple[Asking, Sequence[str]]]
    ) -> None:
        """Send everything, then read until all is answered, within the read timeout."""
        deadline = monotonic() + self._read_timeout
        waiting = [asking for asking, names in asked if asking.ask(names)]
        self.commands += sum(len(asking.waiting) for asking in waiting)
        self.round_trips += 1
        for asking in waiting:
            while asking.waiting:
                self.read(connection, deadline)

    def read(self, connection: amqp.Connection, deadline: float) -> None:
        """Take what comes next, or raise ``TimeoutError`` at the deadline."""
        seconds = deadline - monotonic()
        if seconds <= 0:
            raise TimeoutError
        connection.drain_events(timeout=seconds)


def can_be(name: str, version: str | None) -> bool:
    """Whether a broker of this version can have a queue of this name; else it is not asked."""
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        if _numbers(version) >= _ONLY_TEXT:
            return False
        encoded = name.encode("utf-8", "surrogatepass")
    return len(encoded) <= LONGEST_NAME


def _numbers(version: str | None) -> tuple[int, ...]:
    """The first two numbers of a version; one that cannot be read is as good as the newest."""
    numbers = tuple(int(part) for part in (version or "").split(".")[:2] if part.isdecimal())
    return numbers or _ONLY_TEXT
