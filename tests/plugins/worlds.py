"""Clusters that run in another Python, with another release of their system, if that is asked for.

``BGTOP_TEST_CELERY_PYTHON`` names the Python that has the Celery to test with, and so for every
system; without it a cluster is an object of this process. Tests do not see which it is, unless they
patch the library: these are marked ``same_python``, and left out where there is another.
"""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import threading
from pathlib import Path
from typing import Any

from world_server import PROTOCOL, pack, unpack

PLUGINS = Path(__file__).parent


def open_cluster(system: str, name: str, *arguments: Any, **options: Any) -> Any:
    """The class of this name in ``<system>_cluster``, made here or in the other Python."""
    module = f"{system}_cluster"
    python = os.environ.get(f"BGTOP_TEST_{system.upper()}_PYTHON")
    if python is None:
        return getattr(importlib.import_module(module), name)(*arguments, **options)
    return _Cluster(_Pipe(python, module, name), arguments, options)


class There:
    """An object of the other Python; its attributes, items and calls are those of the original."""

    def __init__(self, pipe: _Pipe, number: int) -> None:
        self._pipe = pipe
        self._number = number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._pipe.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            self._pipe.ask("set", self, name, (value,))

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self._pipe.ask("call", self, None, arguments, options)

    def __getitem__(self, key: Any) -> Any:
        return self._pipe.ask("item", self, key)

    def __enter__(self) -> Any:
        return self._pipe.ask("enter", self)

    def __exit__(self, *_: object) -> None:
        self._pipe.ask("exit", self)


class _Cluster(There):
    def __init__(self, pipe: _Pipe, arguments: Any, options: Any) -> None:
        try:
            made = There(pipe, 0)(*arguments, **options)
        except BaseException:
            pipe.close()
            raise
        super().__init__(pipe, made._number)

    def close(self) -> None:
        try:
            self._pipe.ask("get", self, "close")()
        finally:
            self._pipe.close()


class _Pipe:
    """One process of the other Python."""

    def __init__(self, python: str, *cluster: str) -> None:
        self._process = subprocess.Popen(
            [python, str(PLUGINS / "world_server.py"), *cluster],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._lock = threading.Lock()

    def ask(
        self, verb: str, target: There, name: Any = None, arguments: Any = (), options: Any = None
    ) -> Any:
        words = [pack(word, _number_of) for word in (name, arguments, options or {})]
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            pickle.dump((verb, target._number, *words), self._process.stdin, PROTOCOL)
            self._process.stdin.flush()
            fault, value = pickle.load(self._process.stdout)
        if fault is not None:
            raise RuntimeError(f"in the other Python: {fault}")
        return unpack(value, lambda number: There(self, number))

    def close(self) -> None:
        """The process ends with its standard input."""
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def _number_of(thing: Any) -> int:
    if not isinstance(thing, There):
        raise TypeError(f"{thing!r} cannot be sent to another Python")
    return thing._number
