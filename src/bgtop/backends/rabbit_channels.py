"""py-amqp as we use it: a connection with limits, and a channel that asks without waiting.

Facts from AMQP 0-9-1 and RabbitMQ: answers of one channel come in the order of the questions; a
refused question closes its channel, and what was asked after it is not answered.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import amqp
from amqp import spec
from amqp.serialization import loads

from bgtop.contracts import WrongSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.rabbit_url import RabbitAddress
    from bgtop.backends.url_parts import Tls

HEARTBEAT_SECONDS = 60
"""AMQP's own: a bgtop that is stopped or cut off is dropped by the broker after two of them."""

_METHOD_ID_BYTES = 4


class Size(NamedTuple):
    """What a passive declaration tells: messages ready to be taken, and consumers."""

    ready: int
    consumers: int


class Refused(NamedTuple):
    """Why a question was refused: 403 no right, 404 not there, 405 another's own queue."""

    code: int
    text: str

    @property
    def missing(self) -> bool:
        """There is no such queue."""
        return self.code == 404

    @property
    def forbidden(self) -> bool:
        """The user has no right to it, and RabbitMQ asks for one since 4.2.6."""
        return self.code == 403

    @property
    def exclusive(self) -> bool:
        """It is there, and belongs to the connection of somebody else."""
        return self.code == 405


class Asking(amqp.Channel):  # type: ignore[misc]  # py-amqp has no types
    """Keeps the answers in order and ends at its first refusal; opening is not waited for."""

    def __init__(self, connection: amqp.Connection) -> None:
        super().__init__(connection, auto_decode=False)
        self.waiting: deque[str] = deque()
        self._found: dict[str, Size] = {}
        self._refused: dict[str, Refused] = {}
        self.is_open = True
        self.send_method(spec.Channel.Open, "s", ("",))

    def ask(self, names: Sequence[str]) -> bool:
        """Send the questions; whether there are any."""
        for name in names:
            self.send_method(
                spec.Queue.Declare, "BsbbbbbF", (0, name, True, False, False, False, False, {})
            )
        self.waiting.extend(names)
        return bool(names)

    def take(self, found: dict[str, Size], refused: dict[str, Refused]) -> int:
        """Hand over the answers; how many there were."""
        count = len(self._found) + len(self._refused)
        found.update(self._found)
        refused.update(self._refused)
        self._found, self._refused = {}, {}
        return count

    def leave(self) -> None:
        """Close without waiting; a refused channel is closed already."""
        if self.is_open:
            self.send_method(spec.Channel.Close, "BsBB", (0, "", 0, 0))
            self.is_closing = True
            self.is_open = False
        else:
            self.collect()

    def dispatch_method(self, method: tuple[int, int], payload: bytes, content: Any) -> None:
        """Called by py-amqp with each answer."""
        if method == spec.Queue.DeclareOk and self.waiting:
            (_, ready, consumers), _ = loads("sll", payload, _METHOD_ID_BYTES)
            self._found[self.waiting.popleft()] = Size(ready, consumers)
        elif method == spec.Channel.Close and self.is_open:
            (code,), start = loads("B", payload, _METHOD_ID_BYTES)
            # RabbitMQ 3.12 quotes names in Latin-1, which py-amqp cannot read.
            text = bytes(payload[start + 1 : start + 1 + payload[start]]).decode("utf-8", "replace")
            self.send_method(spec.Channel.CloseOk)
            self.is_open = False
            if self.waiting:
                self._refused[self.waiting.popleft()] = Refused(code, text)
            self.waiting.clear()
        else:
            super().dispatch_method(method, payload, content)


def connect(address: RabbitAddress, connect_timeout: float, read_timeout: float) -> amqp.Connection:
    """A logged-in connection; raises what py-amqp and the socket raise, and leaves nothing open."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    connection = amqp.Connection(
        host=f"{host}:{address.port}",
        userid=address.username,
        password=address.password,
        login_method="PLAIN",
        virtual_host=address.vhost,
        client_properties={"product": "bgtop", "connection_name": "bgtop"},
        ssl=_tls(address),
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        write_timeout=read_timeout,
        heartbeat=HEARTBEAT_SECONDS,
    )
    try:
        if address.tls is not None:
            check_files(address.tls, address.place)
        connection.connect()
    except BaseException:
        connection.collect()
        raise
    return connection


def check_files(tls: Tls, place: str) -> None:
    """Read the certificate files, because what fails later does not name them.

    Raises:
        WrongSource: when one of them cannot be read.
    """
    for path in (tls.ca_certs, tls.certfile, tls.keyfile):
        try:
            if path is not None:
                with open(path, "rb"):
                    pass
        except OSError as error:
            raise WrongSource(
                f"the certificate files for {place} cannot be read: {error.strerror}"
            ) from error


def _tls(address: RabbitAddress) -> dict[str, Any] | None:
    tls = address.tls
    if tls is None:
        return None
    import ssl

    # py-amqp checks the name in the certificate where it is told one.
    checks = {"server_hostname": address.host} if tls.verify else {}
    return {
        **checks,
        "cert_reqs": ssl.CERT_REQUIRED if tls.verify else ssl.CERT_NONE,
        "ca_certs": tls.ca_certs,
        "certfile": tls.certfile,
        "keyfile": tls.keyfile,
    }
