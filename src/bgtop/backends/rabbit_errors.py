"""What can go wrong at a RabbitMQ broker, in one line for an operator and without any password."""

from __future__ import annotations

from typing import TYPE_CHECKING

from amqp.exceptions import AMQPError

from bgtop.contracts import BackendError, NotPermitted, Unreachable, WrongSource

if TYPE_CHECKING:
    from bgtop.backends.rabbit_url import ManagementAddress, RabbitAddress

# Reply codes of AMQP 0-9-1, as RabbitMQ uses them for whole connections.
_ACCESS_REFUSED = 403
_NOT_ALLOWED = 530
_CONNECTION_FORCED = 320
# Frames that are none, and methods nobody knows; py-amqp uses these codes for what it reads.
_NOT_AMQP = frozenset({501, 502, 503, 505, 540})

# The first kind that fits counts, so subclasses of OSError come before it.
_EXCEPTIONS: tuple[tuple[type[BaseException], type[BackendError], str], ...] = (
    (TimeoutError, Unreachable, "no answer from {place} within {seconds:g} s"),
    (EOFError, Unreachable, "{place} closed the connection"),
    (ConnectionRefusedError, Unreachable, "connection refused by {place}"),
    (ConnectionError, Unreachable, "{place} broke the connection"),
    (UnicodeError, Unreachable, "{place} is no valid host name"),
)


def broker_failure(error: BaseException, address: RabbitAddress, seconds: float) -> BackendError:
    """A failed connection, or one that broke, in our words."""
    if isinstance(error, AMQPError):
        return _amqp_failure(error, address)
    known = network_failure(error, address, seconds)
    # py-amqp trips over bytes that are no AMQP in many ways, none of which tells more.
    return known or WrongSource(f"{address.place} does not speak AMQP 0-9-1")


def login_failure(error: BaseException, address: RabbitAddress, seconds: float) -> BackendError:
    """What ended the exchange of first words, before the broker let us in."""
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"no AMQP answer from {address.place} within {seconds:g} s; is it RabbitMQ there?"
        )
    # py-amqp tells the end of a stream by a bare OSError.
    ended = isinstance(error, (EOFError, ConnectionError)) or type(error) is OSError
    if ended and not isinstance(error, ConnectionRefusedError):
        hint = "is it RabbitMQ there?" if address.tls else "does it want amqps:// (TLS)?"
        return Unreachable(f"{address.place} hung up at log-in; {hint}")
    return broker_failure(error, address, seconds)


def network_failure(
    error: BaseException, address: RabbitAddress | ManagementAddress, seconds: float
) -> BackendError | None:
    """An exception of a socket or of TLS in our words; ``None`` for others."""
    for exception, kind, words in _EXCEPTIONS:
        if isinstance(error, exception):
            return kind(words.format(place=address.place, seconds=seconds))
    return _system_failure(error, address) if isinstance(error, OSError) else None


def _system_failure(error: OSError, address: RabbitAddress | ManagementAddress) -> BackendError:
    kind = type(error).__name__
    if kind == "gaierror":
        return Unreachable(f"the host name {address.host!r} cannot be resolved")
    if kind == "SSLCertVerificationError":
        reason = getattr(error, "verify_message", "") or "not trusted"
        return WrongSource(f"the certificate of {address.place} was refused: {reason}")
    if type(error).__module__ == "ssl":
        reason = str(getattr(error, "reason", None) or "it failed").replace("_", " ").lower()
        return WrongSource(f"no TLS connection to {address.place}: {reason}")
    if error.errno is None:
        return Unreachable(f"{address.place} closed the connection")
    return Unreachable(f"cannot reach {address.place}: {error.strerror or kind}")


def _amqp_failure(error: AMQPError, address: RabbitAddress) -> BackendError:
    code, words = error.code, str(error.reply_text or "")
    user, vhost, place = address.username, address.vhost, address.place
    if code == _ACCESS_REFUSED:
        return NotPermitted(f"{place} refused the password of user {user!r}")
    if code == _NOT_ALLOWED and "not found" in words:
        return WrongSource(f"there is no vhost {vhost!r} at {place}")
    if code == _NOT_ALLOWED:
        return NotPermitted(f"{place} does not let user {user!r} into the vhost {vhost!r}")
    if code == _CONNECTION_FORCED:
        return Unreachable(f"{place} closed the connection: it was told to, or is shutting down")
    if code in _NOT_AMQP:
        return WrongSource(f"{place} does not speak AMQP 0-9-1")
    return BackendError(f"{place} ended the connection ({code}: {shortened(words)})")


def shortened(words: str, most: int = 120) -> str:
    """Words of a server as one line that can be printed."""
    plain = "".join(sign if sign.isprintable() else " " for sign in words[:most])
    return " ".join(plain.split())
