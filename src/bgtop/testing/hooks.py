# ruff: noqa: S101  # assertions are what a conformance suite is made of
"""What the author of a backend tells the conformance suite about the system behind it."""

from __future__ import annotations

from contextlib import AbstractContextManager, closing
from typing import TYPE_CHECKING, ClassVar, TypeVar

import pytest

from bgtop.contracts import Backend, BackendError, BackendPlugin, Interest
from bgtop.model import Capability
from bgtop.testing.waiting import queue_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Test = TypeVar("Test", bound="Callable[..., None]")

HOSTILE_NAMES = (
    "tab\there",
    "new\nline",
    "red\x1b[31m",
    "null\x00byte",
    "c1\x9bcontrol",
    "right\u202eto-left",
    "named %s {0} $x",
    "quote'\"`;--",
    "emoji\U0001f680",
    "x" * 300,
)
"""Names a hostile or careless application may give to a queue."""


def is_one_line(words: str) -> bool:
    """Whether an operator can be shown these words as they are."""
    return bool(words.strip()) and words.isprintable()


def needs(*capabilities: Capability) -> Callable[[Test], Test]:
    """Collect a test only where one of these capabilities is declared."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = frozenset(capabilities)
        return test

    return mark


class BackendHooks:
    """What is marked required has to be given; each other hook unlocks tests skipped without."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "capabilities" not in vars(cls):
            return
        for name in dir(cls):
            wanted = getattr(getattr(cls, name), "needs", None)
            if wanted is not None and not wanted & cls.capabilities:
                setattr(cls, name, None)

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    """Required: what the backend declares. Tests of other capabilities are not collected."""

    plugin: ClassVar[BackendPlugin | None] = None
    """The plug-in itself, to check what it says of itself."""

    bad_urls: ClassVar[tuple[str, ...]] = ()
    """URLs of the plug-in's schemes it has to refuse with ``ValueError``."""

    priorities: ClassVar[tuple[int, ...]] = (0,)
    """What :meth:`fill` takes as ``priority``, as ``by_priority`` shows it."""

    secret: ClassVar[str | None] = None
    """The password :meth:`open_backend` logs in with; it may be shown nowhere."""

    patience: ClassVar[float] = 20.0
    """Seconds to wait for what takes time: a worker that starts, a server that comes back."""

    hostile_names: ClassVar[tuple[str, ...]] = HOSTILE_NAMES
    """Shorten it when the system itself refuses some names."""

    def open_backend(self) -> Backend:
        """Required: a backend for the source of this test, not yet polled."""
        raise NotImplementedError

    def fill(self, queue: str, count: int, priority: int = 0) -> None:
        """Required: put ``count`` jobs, which nobody takes, into ``queue``."""
        raise NotImplementedError

    def hold(self, queue: str, count: int) -> AbstractContextManager[None]:
        """Optional: a consumer that took ``count`` jobs of ``queue`` and acknowledges none."""
        pytest.skip(f"no hook to hold {count} jobs of {queue}")

    def running_worker(self, *queues: str) -> AbstractContextManager[str]:
        """Optional: a worker serves ``queues`` meanwhile; gives its name."""
        pytest.skip(f"no hook to run a worker for {queues}")

    def telling_worker(self, *queues: str) -> AbstractContextManager[str]:
        """Optional: a worker that tells what it does with the jobs :meth:`fill` puts there."""
        return self.running_worker(*queues)

    def complete_one(self, queue: str) -> None:
        """Optional: let one job of ``queue`` run to its end."""
        pytest.skip(f"no hook to complete a job of {queue}")

    def stop_source(self) -> None:
        """Optional: make the source unreachable, as when its server is stopped."""
        pytest.skip("no hook to stop the source")

    def start_source(self) -> None:
        """Optional: bring the stopped source back; its jobs may be lost."""
        pytest.skip("no hook to start the source")

    def writes_seen(self) -> AbstractContextManager[list[str]]:
        """Optional: the list fills with what is written to the source meanwhile."""
        pytest.skip("no hook to see writes")

    @pytest.fixture
    def backend(self) -> Iterator[Backend]:
        """A freshly opened backend, closed after the test."""
        with closing(self.open_backend()) as backend:
            yield backend

    def check_words(self, words: str) -> None:
        """Fail unless these words may be shown to an operator."""
        assert is_one_line(words)
        assert self.secret is None or self.secret not in words

    def depth_of(self, backend: Backend, name: str) -> int | None:
        """The depth of a queue as of now; ``None`` while it cannot be read."""
        try:
            queue = queue_in(backend.poll(Interest()), name)
        except BackendError as error:
            self.check_words(str(error))
            return None
        return None if queue is None else queue.depth
