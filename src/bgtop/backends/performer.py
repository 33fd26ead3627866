"""From an action to what carries it out, or to the words that say why nothing can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from bgtop.actions import (
    Action,
    CancelJob,
    DeleteJob,
    Outcome,
    PurgeQueue,
    RequeueFailed,
    RetryJob,
    Verb,
    is_for_workers,
)
from bgtop.contracts import Unsupported

if TYPE_CHECKING:
    from bgtop.actions import WorkerAction

Scope = TypeVar("Scope")


class Performer(Generic[Scope]):
    """Carries out actions on what was last seen of a system, its ``Scope``.

    A system says of each verb why it cannot do that, or has a method for it; one for all that its
    workers can be told.
    """

    why_not: ClassVar[Mapping[Verb, str]]

    @classmethod
    def verbs(cls) -> frozenset[Verb]:
        """What the system can do."""
        return frozenset(Verb) - cls.why_not.keys()

    @classmethod
    def check(cls, action: Action) -> None:
        """Raises :class:`bgtop.contracts.Unsupported` for what the system cannot do."""
        if action.verb in cls.why_not:
            raise Unsupported(cls.why_not[action.verb])

    def perform(self, action: Action, scope: Scope) -> Outcome:
        """Do this; raises what :meth:`bgtop.contracts.Backend.perform` does."""
        self.check(action)
        if is_for_workers(action):
            return self._steer(action, scope)
        match action:
            case RetryJob():
                return self._retry(action, scope)
            case CancelJob():
                return self._cancel(action, scope)
            case DeleteJob():
                return self._delete(action, scope)
            case RequeueFailed():
                return self._requeue(action, scope)
            case PurgeQueue():
                return self._purge(action, scope)
            case _:
                raise NotImplementedError(action.verb)

    def _retry(self, action: RetryJob, scope: Scope) -> Outcome:
        raise NotImplementedError

    def _cancel(self, action: CancelJob, scope: Scope) -> Outcome:
        raise NotImplementedError

    def _delete(self, action: DeleteJob, scope: Scope) -> Outcome:
        raise NotImplementedError

    def _requeue(self, action: RequeueFailed, scope: Scope) -> Outcome:
        raise NotImplementedError

    def _purge(self, action: PurgeQueue, scope: Scope) -> Outcome:
        raise NotImplementedError

    def _steer(self, action: WorkerAction, scope: Scope) -> Outcome:
        raise NotImplementedError
