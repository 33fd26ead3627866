"""Finding the master of a group of servers that Redis Sentinel watches, whenever a link connects.

The protocol is that of <https://redis.io/docs/latest/develop/reference/sentinel-clients/>: ask one
Sentinel after the other, and believe what they name only when it says itself that it is a master.
After a failover Sentinel cuts the connections to the old master, so the next poll asks again.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from bgtop.backends.redis_connection import Connection, pack
from bgtop.backends.redis_errors import failure
from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource
from bgworker.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bgtop.backends.redis_connection import Reply
    from bgtop.backends.redis_url import RedisAddress, Sentinels


def connect_to_master(
    address: RedisAddress, sentinels: Sentinels, connect_timeout: float, read_timeout: float
) -> Connection:
    """A connection to the server that is master now; raises :class:`BackendError`."""
    timeouts = connect_timeout, read_timeout
    faults: list[BackendError] = []
    tried: set[tuple[str, int]] = set()
    for node in sentinels.nodes:
        try:
            place = _ask(node, sentinels.master, timeouts)
            if place in tried:
                continue
            tried.add(place)
            connection = _connect(
                replace(address, sentinels=None, host=place[0], port=place[1]), timeouts
            )
        except BackendError as fault:
            faults.append(fault)
        else:
            connection.round_trips += 2 * len(faults) + 2
            return connection
    raise _summary(faults, sentinels.master)


def _ask(node: RedisAddress, master: str, timeouts: tuple[float, float]) -> tuple[str, int]:
    """What a Sentinel says: host and port of the master."""
    connection = Connection(node, *timeouts)
    try:
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", master)
        reply = _exchange(connection, question, node, timeouts[1])
    finally:
        connection.close()
    match reply:
        case [bytes(host), bytes(port)] if port.isdigit():
            return host.decode("ascii", "backslashreplace"), int(port)
        case None:
            raise WrongSource(f"the Sentinel {node.place} knows no master {master!r}")
    if str(reply).startswith("NOPERM"):
        raise NotPermitted(f"the Sentinel {node.place} does not let us ask for the master")
    raise WrongSource(f"{node.place} is no Sentinel")


def _connect(server: RedisAddress, timeouts: tuple[float, float]) -> Connection:
    """A connection to what is named as the master, if it is one."""
    connection = Connection(server, *timeouts)
    try:
        _prove_master(connection, server, timeouts[1])
    except BaseException:
        connection.close()
        raise
    return connection


def _prove_master(connection: Connection, server: RedisAddress, timeout: float) -> None:
    role = connection.role
    if role is None:  # a server before Redis 6
        reply = _exchange(connection, ("ROLE",), server, timeout)
        role = "replica" if isinstance(reply, list) and reply[:1] == [b"slave"] else "master"
    if role != "master":
        raise Unreachable(f"{server.place} is to be the master, and is a replica")


def _exchange(
    connection: Connection, command: Sequence[str], node: RedisAddress, timeout: float
) -> Reply:
    deadline = monotonic() + timeout
    try:
        connection.send(pack(command).payload, deadline)
        return connection.receive(1, deadline)[0]
    except Exception as error:
        raise failure(error, node, timeout) or error from error


def _summary(faults: Sequence[BackendError], master: str) -> BackendError:
    """All that was tried, in one line; its kind is that of what somebody has to mend."""
    words = "; ".join(dict.fromkeys(str(fault) for fault in faults))
    for kind in (NotPermitted, WrongSource):
        if any(isinstance(fault, kind) for fault in faults):
            return kind(f"no master {master!r}: {words}")
    return Unreachable(f"no master {master!r}: {words}")
