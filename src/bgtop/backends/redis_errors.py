"""What can go wrong at a Redis server, in one line for an operator and without any password."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import hiredis
from hiredis import ReplyError

from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from bgtop.backends.redis_url import RedisAddress

Refused = TypeVar("Refused")

_MOST_TOLD = 5

_CLUSTER = (WrongSource, "{} is a Redis Cluster; none of these job systems can use one")

# Refusals that hold for every command, by the first word of the reply (Redis 7 error codes).
_FAULTS: dict[str, tuple[type[BackendError], str]] = {
    "LOADING": (Unreachable, "{} is still loading its data"),
    "MASTERDOWN": (Unreachable, "{} is a replica that has lost its master"),
    "BUSY": (Unreachable, "{} is busy running a script"),
    "NOAUTH": (NotPermitted, "{} asks for a password"),
    "DENIED": (NotPermitted, "{} is in protected mode and refuses other machines"),
    "MOVED": _CLUSTER,
    "ASK": _CLUSTER,
    "CLUSTERDOWN": _CLUSTER,
    "CROSSSLOT": _CLUSTER,
}


def code_of(error: ReplyError) -> str:
    """The machine-readable first word of an error reply: ``WRONGTYPE``, ``NOPERM``, ``ERR``."""
    return str(error).partition(" ")[0]


def refused_command(error: ReplyError) -> str | None:
    """The command for which a user lacks the right, as in ``CLIENT LIST``; ``None`` for others.

    Redis 6 to 8 and Valkey quote its name, and nothing else, where a command is refused as such;
    where only a key is refused they name no command.
    """
    if code_of(error) != "NOPERM" or "permissions to run the '" not in str(error):
        return None
    return str(error).split("'")[1].upper().replace("|", " ")


def is_wrong_type(reply: object) -> bool:
    """Whether a command was refused because its key holds something of another kind."""
    return isinstance(reply, ReplyError) and code_of(reply) == "WRONGTYPE"


def unread(what: str, refusal: ReplyError, wrong_type: str) -> str:
    """Why ``what`` is not known, in a line; ``wrong_type`` where its key is of another kind."""
    if is_wrong_type(refusal):
        return wrong_type
    if code_of(refusal) == "NOPERM":
        return f"the server does not let us read {what}"
    return f"{what} cannot be read ({code_of(refusal)})"


def first_told(
    refused: Sequence[Refused], in_words: Callable[[Refused], str], kind: str
) -> list[str]:
    """A line for each of the first ones that cannot be read, and one for all others."""
    told = [in_words(one) for one in refused[:_MOST_TOLD]]
    left = len(refused) - len(told)
    return [*told, f"{left} more {kind} cannot be read"] if left else told


def server_fault(reply: object, place: str) -> BackendError | None:
    """The failure of the whole server that this reply proves, if it does."""
    if not isinstance(reply, ReplyError):
        return None
    if "max number of clients" in str(reply):
        return Unreachable(f"{place} accepts no further connection (maxclients)")
    kind, words = _FAULTS.get(code_of(reply), (None, ""))
    return kind(words.format(place)) if kind is not None else None


def login_fault(replies: Mapping[str, object], address: RedisAddress) -> BackendError | None:
    """What the replies to AUTH, HELLO and SELECT mean; refusals of others are harmless."""
    place = address.place
    auth, hello, select = (replies.get(name) for name in ("AUTH", "HELLO", "SELECT"))
    # A failed AUTH makes the later commands fail as well: the first refusal is the cause.
    if isinstance(auth, ReplyError):
        return server_fault(auth, place) or NotPermitted(_refused_login(str(auth), address))
    fault = server_fault(hello, place) or _wrong_mode(hello, address)
    if fault is None and isinstance(select, ReplyError):
        if code_of(select) == "NOPERM":
            return NotPermitted(f"{place} does not let us choose database {address.db}")
        return server_fault(select, place) or WrongSource(f"{place} has no database {address.db}")
    return fault


def _wrong_mode(hello: object, address: RedisAddress) -> BackendError | None:
    mode = hello_fields(hello).get(b"mode")
    if mode is None or mode == address.mode.encode():
        return None
    if address.mode == "sentinel":
        return WrongSource(f"{address.place} is no Sentinel")
    if mode == b"sentinel":
        return WrongSource(
            f"{address.place} is a Sentinel, which holds no data: sentinel://…?master=NAME asks it"
        )
    return server_fault(ReplyError("MOVED"), address.place) if mode == b"cluster" else None


def hello_fields(hello: object) -> dict[object, object]:
    """The flat list HELLO answers as a dictionary; empty when it was refused."""
    return dict(zip(hello[::2], hello[1::2], strict=False)) if isinstance(hello, list) else {}


def _refused_login(words: str, address: RedisAddress) -> str:
    if "without any password" in words:
        return f"{address.place} refused the password: none is set there"
    if "wrong number of arguments" in words:
        return f"{address.place} knows no users: it is older than Redis 6, take the name out"
    if address.username:
        return f"{address.place} refused the password of user {address.username!r}"
    return f"{address.place} refused the password"


# The first kind that fits counts, so subclasses of OSError come before it.
_EXCEPTIONS: tuple[tuple[type[BaseException], type[BackendError], str], ...] = (
    (TimeoutError, Unreachable, "no answer from {place} within {seconds:g} s"),
    (EOFError, Unreachable, "{place} closed the connection"),
    (ConnectionRefusedError, Unreachable, "connection refused by {place}"),
    (ConnectionError, Unreachable, "{place} broke the connection"),
    (FileNotFoundError, Unreachable, "there is no socket {place}"),
    (PermissionError, NotPermitted, "no permission to open the socket {place}"),
    (hiredis.ProtocolError, WrongSource, "{place} does not speak the Redis protocol"),
    (UnicodeError, Unreachable, "{place} is no valid host name"),
)


def failure(error: BaseException, address: RedisAddress, seconds: float) -> BackendError | None:
    """An exception of a socket, of TLS or of the parser in our words; ``None`` for others."""
    for exception, kind, words in _EXCEPTIONS:
        if isinstance(error, exception):
            return kind(words.format(place=address.place, seconds=seconds))
    return _system_failure(error, address) if isinstance(error, OSError) else None


def _system_failure(error: OSError, address: RedisAddress) -> BackendError:
    if type(error).__name__ == "gaierror":
        return Unreachable(f"the host name {address.host!r} cannot be resolved")
    if type(error).__name__ == "SSLCertVerificationError":
        reason = getattr(error, "verify_message", "") or "not trusted"
        return WrongSource(f"the certificate of {address.place} was refused: {reason}")
    if type(error).__module__ == "ssl":
        reason = str(getattr(error, "reason", None) or "it failed")
        words = reason.replace("_", " ").lower()
        return WrongSource(f"no TLS connection to {address.place}: {words}")
    return Unreachable(f"cannot reach {address.place}: {error.strerror or type(error).__name__}")
