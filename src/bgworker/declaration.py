"""What may be said of a task where it is declared, and what is made of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

from bgworker import options
from bgworker.errors import SoftTimeout
from bgworker.limits import parse_rate
from bgworker.model import PRIORITY_LIMIT, Retry, TaskPolicy, is_name
from bgworker.values import replace

_HARD_TIMEOUT_AFTER = 10.0
"""Seconds a task has, after its soft timeout, to clean up when it sets no ``hard_timeout``."""


def policy(task: str, queue: str, order: int, retry: Retry | None) -> TaskPolicy:
    """A task without limits. ``order`` is its priority."""
    if retry is not None and not isinstance(retry, Retry):
        raise ValueError(f"retry={retry!r} must be Retry(…)")
    retry = retry or Retry()
    return TaskPolicy(
        name=name("name", task),
        queue=name("queue", queue),
        priority=priority(order),
        retry=retry,
        retries_timeout=issubclass(SoftTimeout, retry.on),
    )


def limited(
    policy: TaskPolicy,
    timeout: float | None,
    hard_timeout: float | None,
    rate_limit: str | None,
    concurrency: int | None,
) -> TaskPolicy:
    """The same with limits."""
    soft = None if timeout is None else options.seconds("timeout", timeout)
    return replace(
        policy,
        timeout=soft,
        hard_timeout=_hard_timeout(soft, hard_timeout),
        rate_limit=None if rate_limit is None else parse_rate(rate_limit),
        concurrency=None if concurrency is None else options.concurrency(concurrency),
    )


def check_callbacks(**callbacks: Callable[..., object] | None) -> None:
    """Refuse what cannot be called, long before it would have been."""
    for option, callback in callbacks.items():
        if callback is not None and not callable(callback):
            raise ValueError(f"{option}={callback!r} must be a function")


def name(option: str, text: str) -> str:
    """The name of a task or a queue."""
    if type(text) is not str or not is_name(text):
        raise ValueError(f"{option}={text!r} must be a name, in characters that can be stored")
    return text


def priority(value: int) -> int:
    """Lower runs first."""
    if type(value) is not int or abs(value) > PRIORITY_LIMIT:
        raise ValueError(f"priority={value!r} must be an integer (lower runs first)")
    return value


def name_of(function: Callable[..., Any], chosen: str | None) -> str:
    """The chosen name, else ``module.function``.

    A script's own module is named as a worker would import it.
    """
    if not callable(function):
        raise TypeError(f"{function!r} is no function: write @bg.task or @bg.task(name=…)")
    if chosen is not None:
        return chosen
    own = getattr(function, "__qualname__", None)
    if own is None:
        raise ValueError(f"{function!r} has no name of its own: give it one with name=")
    module = function.__module__
    if module == "__main__":
        main = sys.modules["__main__"]
        spec = getattr(main, "__spec__", None)
        path = getattr(main, "__file__", None) or "__main__"
        module = spec.name if spec else os.path.splitext(os.path.basename(path))[0]
    return f"{module}.{own}"


def origin(function: Callable[..., Any]) -> str:
    """Where a function was written: a module imported twice declares the same tasks again.

    What it encloses counts too: all that one decorator makes is written in the same place.
    """
    return " around ".join(dict.fromkeys(_places(function, set())))


def _places(function: Any, seen: set[int]) -> Iterator[str]:
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    if code is None:
        yield repr(function)
        return
    seen.add(id(function))
    yield f"{code.co_filename}:{code.co_firstlineno}"
    for cell in function.__closure__ or ():
        try:
            found = cell.cell_contents
        except ValueError:  # nothing is in it yet
            continue
        if hasattr(found, "__code__") and id(found) not in seen:
            yield from _places(found, seen)


def _hard_timeout(soft: float | None, hard: float | None) -> float | None:
    if hard is None:
        return None if soft is None else soft + _HARD_TIMEOUT_AFTER
    limit = options.seconds("hard_timeout", hard)
    if soft is not None and limit <= soft:
        raise ValueError(f"hard_timeout={hard!r} must be more than timeout={soft!r}")
    return limit
