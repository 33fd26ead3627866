"""Where a server listens: addresses, and whether they are safe enough for what it will show."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from typing import Final

from bgworker.values import dataclass

USUAL: Final = "127.0.0.1:5555"
_BACKLOG: Final = 256


class BadAddress(ValueError):
    """No address, or one that may not be listened to; the message says why."""


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address or the path of a unix socket."""

    host: str = ""
    port: int = 0
    path: str | None = None

    @property
    def local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def hosts(self) -> frozenset[str]:
        """What a browser on this machine may call it."""
        own = f"[{self.host}]" if ":" in self.host else self.host
        return frozenset({"localhost", "127.0.0.1", "[::1]", own.lower()})

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address_of(text: str) -> Address:
    """The address a text means: ``HOST:PORT`` or ``unix:PATH``; raises :class:`BadAddress`."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path:
            raise BadAddress("--listen unix: names no path")
        return Address(path=os.path.abspath(path))
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdigit() and int(port[:6]) < 65536):
        raise BadAddress(f"--listen {text}: expected HOST:PORT or unix:PATH")
    return Address(host=host, port=int(port))


def check_exposure(address: Address, *, credentials: bool, encrypted: bool) -> None:
    """Raises :class:`BadAddress` for what others could reach without a key, or listen in on."""
    if address.local:
        return
    if not credentials:
        raise BadAddress(
            f"--listen {address}: others can reach this address, so it needs credentials "
            "(--token-file, --basic-auth, --oidc-issuer or --oauth-provider)"
        )
    if not encrypted:
        raise BadAddress(
            f"--listen {address}: others can reach this address, so it needs TLS: --tls-cert and "
            "--tls-key, or --behind-proxy if a proxy in front of it has them"
        )


def bound(address: Address) -> socket.socket:
    """A socket that listens there; raises ``OSError``.

    A socket file may be used by its owner and its group; one that nobody listens to is replaced.
    """
    if address.path is None:
        family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        # Only with the protocol named asyncio switches Nagle's algorithm off: 40 ms an answer.
        made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        where: tuple[str, int] | str = (address.host, address.port)
    else:
        _remove_stale(address.path)
        made, where = socket.socket(socket.AF_UNIX), address.path
    before = os.umask(0o117)
    try:
        made.bind(where)
        made.listen(_BACKLOG)
    except OSError:
        made.close()
        raise
    finally:
        os.umask(before)
    made.set_inheritable(False)
    return made


def _remove_stale(path: str) -> None:
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(0, "is there, and is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX) as tried:
        tried.settimeout(1)
        try:
            tried.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
