"""Addresses of receivers, as the command line has them."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple


class Address(NamedTuple):
    """``host`` and ``port``, or the path of a socket; ``kind`` is ``udp``, ``tcp`` or ``unix``."""

    kind: str
    host: str
    port: int = 0

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def address_of(text: str, *, kind: str, port: int | None, kinds: tuple[str, ...] = ()) -> Address:
    """``HOST:PORT``, ``[::1]:PORT`` or, with a usual port, ``HOST``; ``kind://`` in front.

    ``kind`` is meant where none is said, ``kinds`` are those that may be. ``unix:PATH`` and
    ``unix:///PATH`` are sockets. Raises ``ValueError``.
    """
    said, sign, place = text.partition("://")
    if not sign:
        said, place = ("unix", text[5:]) if text.startswith("unix:") else (kind, text)
    if said not in (kinds or (kind,)):
        raise ValueError(f"{text!r}: {said}:// is not spoken here")
    if said == "unix":
        if not place:
            raise ValueError(f"{text!r} names no socket")
        return Address("unix", place)
    host, number = _split(text, place.rstrip("/"))
    if number is None:
        if port is None:
            raise ValueError(f"{text!r} has no port")
        return Address(said, host, port)
    if not number.isdecimal() or not 0 <= int(number) < 65536:
        raise ValueError(f"{text!r}: {number!r} is no port")
    return Address(said, host, int(number))


def _split(text: str, place: str) -> tuple[str, str | None]:
    if place.startswith("["):
        host, closing, rest = place[1:].partition("]")
        if not closing or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is not HOST:PORT")
        return host, rest[1:] or None
    if place.count(":") > 1:
        raise ValueError(f"{text!r}: an IPv6 address is written [{place}]:PORT")
    host, colon, number = place.partition(":")
    return host or "localhost", number if colon else None


def connected(address: Address, timeout: float) -> socket.socket:
    """A socket that leads there, of datagrams or, by its ``type``, a stream; raises ``OSError``."""
    if address.kind == "tcp":
        return socket.create_connection((address.host, address.port), timeout)
    if address.kind == "unix":
        try:
            return _joined(socket.AF_UNIX, socket.SOCK_DGRAM, address.host, timeout)
        except OSError as error:
            # Datadog's agent takes datagrams there, StatsD itself a stream.
            if error.errno != errno.EPROTOTYPE:
                raise
        return _joined(socket.AF_UNIX, socket.SOCK_STREAM, address.host, timeout)
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    family, kind, _, _, place = found[0]
    return _joined(family, kind, place, timeout)


def _joined(
    family: int, kind: int, place: str | tuple[str | int, ...] | tuple[int, bytes], timeout: float
) -> socket.socket:
    made = socket.socket(family, kind)
    try:
        made.settimeout(timeout)
        made.connect(place)
    except OSError:
        made.close()
        raise
    return made


def words_of(error: OSError) -> str:
    """What went wrong, for people."""
    return (error.strerror or str(error) or type(error).__name__).lower()
