"""Tasks of a Flask application: its configuration, and its context around each task."""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from bgworker.app import BgWorker, Task
from bgworker.values import replace

if TYPE_CHECKING:
    from flask import Flask

P = ParamSpec("P")
R = TypeVar("R")


class FlaskBgWorker(BgWorker):
    """A :class:`bgworker.BgWorker` that belongs to a Flask app.

    Give the app here or, as with other extensions, later to :meth:`init_app`. A worker runs
    ``bgworker run --app MODULE:NAME`` like any other; the module has to make the app.
    """

    def __init__(self, app: Flask | None = None, *, url: str | None = None) -> None:
        super().__init__(url)
        self._app: Flask | None = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Belong to this app: the queue is ``app.config["BGWORKER_URL"]``, if that is set."""
        url = app.config.get("BGWORKER_URL")
        if url:
            self.close()
            self.url = url
        app.extensions["bgworker"] = self
        self._app = app

    def _declare(self, task: Task[P, R]) -> Task[P, R]:
        return super()._declare(replace(task, function=self._in_context(task.function)))

    def _in_context(self, function: Callable[P, R]) -> Callable[P, R]:
        if iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_later(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._context():
                    return await function(*args, **kwargs)

            return run_later  # type: ignore[return-value]

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._context():
                return function(*args, **kwargs)

        return run

    def _context(self) -> Any:
        if self._app is None:
            raise RuntimeError("this FlaskBgWorker has no app: call init_app(app) before tasks run")
        return self._app.app_context()
