"""RabbitMQ's management API: what AMQP cannot tell, in one request for all queues of a vhost.

``disable_stats`` with ``enable_queue_totals`` (RabbitMQ 3.8 and later) gives live counts of classic
queues and costs the broker little; what it gives of quorum queues, and what the ordinary statistics
give, is up to five seconds old.
"""

from __future__ import annotations

import json
import socket
from base64 import b64encode
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from bgtop.backends.one_user import OneUser
from bgtop.backends.rabbit_channels import check_files
from bgtop.backends.rabbit_errors import network_failure
from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource

if TYPE_CHECKING:
    from http.client import HTTPResponse

    from bgtop.backends.rabbit_url import ManagementAddress, RabbitAddress

MOST_BYTES = 64 * 1024 * 1024
"""An answer beyond it is a mistake we refuse to hold in memory."""

_CHUNK = 64 * 1024
_COLUMNS: Final = "name,exclusive,arguments,state,messages_ready,messages_unacknowledged"
_QUEUES: Final = f"disable_stats=true&enable_queue_totals=true&columns={_COLUMNS}"
_CONSUMERS: Final = "columns=queue.name,channel_details.connection_name"
_NODES: Final = "columns=name,running,mem_alarm,disk_free_alarm,partitions"


class Management:
    """One kept connection; ``requests`` counts what was asked, each one round trip."""

    def __init__(
        self,
        address: ManagementAddress,
        broker: RabbitAddress,
        *,
        connect_timeout: float = 3.0,
        read_timeout: float = 5.0,
    ) -> None:
        self.address = address
        self.requests = 0
        self._vhost = quote(broker.vhost, safe="")
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        login = f"{address.username}:{address.password}".encode()
        self._headers = {"Authorization": "Basic " + b64encode(login).decode()}
        self._connection: HTTPConnection | None = None
        self._use = OneUser(address.place, self._wake, self._drop)

    def close(self) -> None:
        """Free the socket; a request under way in another thread ends at once. Safe to repeat."""
        self._use.close()

    def _wake(self) -> None:
        connection = self._connection
        with suppress(OSError, AttributeError, TypeError):
            if connection is not None:
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def queues(self) -> list[dict[str, Any]]:
        """All queues of the vhost as the API tells them, unchecked but for their being objects.

        Raises:
            BackendError: when the API cannot be used.
        """
        return self._rows(f"/api/queues/{self._vhost}?{_QUEUES}")

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of the cluster and their alarms; only users tagged ``monitoring`` may see them.

        Raises:
            BackendError: when the API cannot be used.
        """
        return self._rows(f"/api/nodes?{_NODES}")

    def consumers(self) -> list[dict[str, Any]]:
        """Who consumes which queue; without the tag ``monitoring`` only our own.

        Raises:
            BackendError: when the API cannot be used.
        """
        return self._rows(f"/api/consumers/{self._vhost}?{_CONSUMERS}")

    def _rows(self, path: str) -> list[dict[str, Any]]:
        content = self._get(path)
        try:
            rows = json.loads(content)
        except (ValueError, RecursionError):
            rows = None
        if not isinstance(rows, list):
            raise WrongSource(f"{self.address.place} does not answer as RabbitMQ's management API")
        return [row for row in rows if isinstance(row, dict)]

    def _get(self, path: str) -> bytes:
        """The body of the answer; a kept connection that the server left is replaced once."""
        with self._use.using():
            reused = self._connection is not None
            try:
                return self._try(path)
            except Unreachable as error:
                if not reused or isinstance(error.__cause__, TimeoutError):
                    raise
                self._drop()
            return self._try(path)

    def _try(self, path: str) -> bytes:
        try:
            connection = self._connection = self._connection or self._open()
            self.requests += 1
            connection.request("GET", path, headers=self._headers)
            return self._read(connection.getresponse())
        except BackendError:
            raise
        except HTTPException as error:
            if isinstance(error, OSError):  # the other side hung up
                raise Unreachable(f"{self.address.place} closed the connection") from error
            raise WrongSource(f"{self.address.place} does not speak HTTP") from error
        except (OSError, UnicodeError) as error:
            seconds = self._read_timeout if self._connection else self._connect_timeout
            raise network_failure(error, self.address, seconds) or error from error

    def _open(self) -> HTTPConnection:
        host, port, tls = self.address.host, self.address.port, self.address.tls
        if tls is None:
            connection = HTTPConnection(host, port, timeout=self._connect_timeout)
        else:
            import ssl

            check_files(tls, self.address.place)
            context = ssl.create_default_context(cafile=tls.ca_certs)
            if not tls.verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if tls.certfile is not None:
                context.load_cert_chain(tls.certfile, tls.keyfile)
            connection = HTTPSConnection(host, port, timeout=self._connect_timeout, context=context)
        try:
            connection.connect()
            connection.sock.settimeout(self._read_timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, response: HTTPResponse) -> bytes:
        deadline = monotonic() + self._read_timeout
        chunks: list[bytes] = []
        size = 0
        while chunk := response.read1(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > MOST_BYTES:
                raise BackendError(f"{self.address.place} answers more than we can hold")
            if monotonic() > deadline:
                raise TimeoutError
        self._check(response.status)
        return b"".join(chunks)

    def _check(self, status: int) -> None:
        place, user = self.address.place, self.address.username
        if status == 401:
            # Also when the user exists and has none of the tags that allow the API.
            raise NotPermitted(f"{place} refused user {user!r}, or it lacks the tag 'monitoring'")
        if status == 403:
            raise NotPermitted(f"{place} does not let user {user!r} see this")
        if status == 404:
            raise WrongSource(f"{place} knows no such vhost, or is no management API")
        if status != 200:
            raise BackendError(f"{place} answered with HTTP status {status}")
