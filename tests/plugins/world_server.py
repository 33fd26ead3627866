"""The side of another Python: does what :mod:`worlds` asks for, over standard input and output.

Runs on Python 3.8, and imports nothing of ours but the module it is told to.

A request is ``(verb, target, name, arguments, options)``, an answer ``(fault, value)``. Objects
that are not plain values stay here: their numbers travel, and mean them again when they come back.
Both ends are ours, so pickle is safe on this pipe.
"""

from __future__ import annotations

import importlib
import os
import pathlib
import pickle
import sys
import traceback
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

# What the oldest Python here can read.
PROTOCOL = 4

_PLAIN = (type(None), bool, int, float, str, bytes, date, timedelta)
_SEQUENCES = {kind.__name__: kind for kind in (tuple, list, set, frozenset)}


def pack(value: Any, number_of: Callable[[Any], int]) -> tuple[str, Any]:
    """A value as it travels; an object that stays where it is gets a number."""
    # Neither an enumeration nor a class of a library, which the other side may not have.
    if isinstance(value, _PLAIN) and type(value).__module__ in ("builtins", "datetime"):
        return ("plain", value)
    if isinstance(value, pathlib.PurePath):
        return ("path", str(value))
    if type(value) is dict:
        return ("dict", [(pack(k, number_of), pack(v, number_of)) for k, v in value.items()])
    if type(value).__name__ in _SEQUENCES:
        return (type(value).__name__, [pack(item, number_of) for item in value])
    return ("there", number_of(value))


def unpack(packed: tuple[str, Any], object_of: Callable[[int], Any]) -> Any:
    """The value that was packed, or what stands for the object of this number."""
    kind, value = packed
    if kind == "plain":
        return value
    if kind == "path":
        return pathlib.Path(value)
    if kind == "dict":
        return {unpack(k, object_of): unpack(v, object_of) for k, v in value}
    if kind == "there":
        return object_of(value)
    return _SEQUENCES[kind](unpack(item, object_of) for item in value)


def _do(verb: str, target: Any, name: Any, arguments: Any, options: Any) -> Any:
    if verb == "get":
        return getattr(target, name)
    if verb == "set":
        return setattr(target, name, *arguments)
    if verb == "item":
        return target[name]
    if verb == "enter":
        return target.__enter__()
    if verb == "exit":
        return target.__exit__(None, None, None)
    return target(*arguments, **options)


def main(module: str, cluster: str) -> None:
    """Serve until the other side closes the pipe; the object 0 is the class of the cluster."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What libraries and their children print or read must not meet the pipe.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    objects = [getattr(importlib.import_module(module), cluster)]

    def number_of(thing: Any) -> int:
        objects.append(thing)
        return len(objects) - 1

    while True:
        try:
            verb, target, *rest = pickle.load(requests)
        except EOFError:
            return
        try:
            words = [unpack(packed, objects.__getitem__) for packed in rest]
            answer = (None, pack(_do(verb, objects[target], *words), number_of))
        except Exception:  # noqa: BLE001  # whatever it is, the test tells
            answer = (traceback.format_exc(), None)
        pickle.dump(answer, answers, PROTOCOL)
        answers.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
