"""Remote control of Celery's workers: a command goes to all or some of them, and they answer.

The protocol is kombu's pidbox (``kombu/pidbox.py``, Celery 4.4 to 5.7; live brokers): a fanout
exchange ``<namespace>.pidbox`` that each worker listens to, a command as JSON, and answers of the
form ``{node: value}`` sent to the exchange and routing key the command names. Each broker has a
:class:`Mailbox` of its own; what commands exist and what they answer is Celery's
``worker/control.py``. Names nobody registered are never sent: they fill the logs of workers.
"""

from __future__ import annotations

import json
import math
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, NamedTuple, Protocol

from bgtop.backends.celery.task_messages import clean, one_line
from bgtop.backends.celery.wire import json_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAMESPACE = "celery"
"""What ``control_exchange`` is unless an application sets it."""

SECONDS = 1.0
"""How long answers are waited for; Celery's own default."""

LONGEST_ANSWER = 4 * 1024 * 1024
"""A worker that holds thousands of tasks says so at length; what is longer is not read."""

DEEPEST = 50
"""Levels of an answer that are read; Celery's own have five."""


class Answer(NamedTuple):
    """What one worker said."""

    node: str
    value: object

    @property
    def error(self) -> str | None:
        """Why it could not do it."""
        value = self.value
        error = value.get("error") if isinstance(value, dict) else None
        return one_line(error) if isinstance(error, str) else None


class Heard(NamedTuple):
    """What came back from a broadcast."""

    answers: tuple[Answer, ...]
    listeners: int | None
    """How many the command reached at least, some of which may be no workers; ``None``: unknown."""

    @property
    def by_all(self) -> bool:
        """Whether everyone who listens has answered."""
        return self.listeners is not None and len(self.answers) >= self.listeners


class Call(NamedTuple):
    """A command and what it is given."""

    command: str
    arguments: Mapping[str, object] = {}


class Mailbox(Protocol):
    """Where the workers of one application listen."""

    @property
    @abstractmethod
    def prefix(self) -> str:
        """What stands before the names of its workers where a broker has several applications."""
        ...

    def ask(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        nodes: Sequence[str] | None = None,
        seconds: float = SECONDS,
    ) -> Heard:
        """Send a command to all workers, or to those of ``nodes``, and wait for their answers.

        Ends when everyone known to listen has answered, or after ``seconds``. Workers that are busy
        with the ``solo`` pool answer later, to nobody, and still do as told.

        Raises:
            BackendError: when the broker cannot be used, or does not let us.
        """
        (heard,) = self.ask_all([Call(command, arguments or {})], nodes=nodes, seconds=seconds)
        return heard

    @abstractmethod
    def ask_all(
        self, calls: Sequence[Call], *, nodes: Sequence[str] | None, seconds: float
    ) -> list[Heard]:
        """Send several commands at once, and wait for the answers to all of them, in that order.

        Raises:
            BackendError: when the broker cannot be used, or does not let us.
        """
        ...


class Command(NamedTuple):
    """A command on its way, of which ``ticket`` marks the answers."""

    call: Call
    nodes: Sequence[str] | None
    ticket: str
    seconds: float

    @property
    def headers(self) -> dict[str, object]:
        """Those of its message."""
        # What nobody waits for is to be done all the same.
        return {"clock": 0, "expires": time.time() + max(self.seconds, SECONDS)}

    def body(self, exchange: str, routing_key: str) -> bytes:
        """That of its message (JSON), which says where answers are awaited."""
        fields = {
            "method": self.call.command,
            "arguments": {**self.call.arguments},
            "destination": None if self.nodes is None else [*self.nodes],
            "pattern": None,
            "matcher": None,
            "ticket": self.ticket,
            "reply_to": {"exchange": exchange, "routing_key": routing_key},
        }
        return json.dumps(fields).encode()


class Collected:
    """The answers to commands that are on their way, sorted by these."""

    def __init__(
        self, calls: Sequence[Call], nodes: Sequence[str] | None, seconds: float, ticket: str
    ) -> None:
        """``ticket`` is nobody else's."""
        tickets = [f"{ticket}.{number}" for number in range(len(calls))]
        self.commands = [
            Command(call, nodes, mark, seconds) for call, mark in zip(calls, tickets, strict=True)
        ]
        self._found: dict[str, list[Answer]] = {mark: [] for mark in tickets}

    def add(self, ticket: object, answers: list[Answer]) -> None:
        """Note what somebody said; one who leaves the ticket out means the only command."""
        only = next(iter(self._found)) if ticket is None and len(self._found) == 1 else None
        mark = ticket if isinstance(ticket, str) else only
        if mark in self._found:
            self._found[mark] += answers

    def by_all(self, listeners: int | None) -> bool:
        """Whether so many have answered each command."""
        return listeners is not None and all(
            len(found) >= listeners for found in self._found.values()
        )

    def heard(self, listeners: int | None) -> list[Heard]:
        """What came back, in the order of the commands."""
        return [Heard(tuple(found), listeners) for found in self._found.values()]


def answers_in(body: bytes) -> list[Answer]:
    """What a message of answers (JSON) says; nothing when it is none."""
    return answers_of(json_of(body)) if len(body) <= LONGEST_ANSWER else []


def answers_of(said: object) -> list[Answer]:
    """The same of JSON that was parsed."""
    if not isinstance(said, dict):
        return []
    return [
        Answer(clean(node), _plain(value)) for node, value in said.items() if isinstance(node, str)
    ]


def _plain(value: object, levels: int = DEEPEST) -> object:
    """What every reader of JSON understands; ``None`` in place of the rest.

    Python's also takes what is no number, and nests as deep as nobody can follow.
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if not isinstance(value, (dict, list)):
        return value
    if levels == 0:
        return None
    if isinstance(value, dict):
        return {name: _plain(part, levels - 1) for name, part in value.items()}
    return [_plain(part, levels - 1) for part in value]
