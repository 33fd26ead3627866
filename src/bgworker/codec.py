"""Arguments and results as JSON text: checked where the mistake is made, never pickled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from bgworker.errors import NotJson, PayloadTooLarge, ResultTooLarge
from bgworker.model import PAYLOAD_CAP, Progress

if TYPE_CHECKING:
    JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None

_encode = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode
_PLAIN = frozenset({str, int, float, bool, type(None)})


def dump_args(args: Sequence[object], kwargs: Mapping[str, object]) -> str:
    """The JSON text ``[[args…], {kwargs…}]``; tuples become lists.

    Raises:
        NotJson: a value, or a key of a dict, has no JSON form.
        PayloadTooLarge: the text is over 1 MiB.
    """
    return _dump([args, kwargs], "arguments")


def load_args(text: str) -> tuple[list[object], dict[str, object]]:
    """The inverse of :func:`dump_args`.

    Raises:
        NotJson: the text is neither ``[[…], {…}]`` nor what :func:`with_headers` makes of it.
    """
    try:
        args, kwargs, *beside = _decode(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise NotJson(f"stored arguments cannot be read: {error}") from None
    strange = beside and (len(beside) > 1 or not isinstance(beside[0], dict))
    if strange or not isinstance(args, list) or not isinstance(kwargs, dict):
        raise NotJson("stored arguments are not [[…], {…}]")
    return args, kwargs


def with_headers(args: str, headers: Mapping[str, str]) -> str:
    """Arguments as JSON text with what is to travel beside them: ``[[…], {…}, {headers}]``."""
    return f"{args[:-1]},{_encode(headers)}]"


def headers_of(args: str) -> dict[str, str]:
    """What travels beside arguments; empty, as a rule."""
    try:
        found = json.loads(args)[2]
    except (ValueError, TypeError, LookupError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if isinstance(value, str)}


def dump_result(value: object) -> str:
    """A task's return value as JSON text.

    Raises:
        NotJson: a value, or a key of a dict, has no JSON form.
        ResultTooLarge: the text is over 1 MiB.
    """
    if value is None:
        return "null"
    return _dump(value, "the result", ResultTooLarge)


def dump_error(kind: str, message: str, traceback: str = "") -> str:
    """How a job failed, as JSON text; long texts are cut, the end of a traceback is kept."""
    texts = {"type": kind[:256], "message": message[:8_192], "traceback": traceback[-65_536:]}
    return _encode(texts)


def load_error(text: str | None) -> tuple[str, str, str]:
    """``(type, message, traceback)`` of a stored error."""
    found = json.loads(text) if text else {}
    return found.get("type", "unknown"), found.get("message", ""), found.get("traceback", "")


def dump_progress(progress: Progress) -> str:
    """``[n, total, text, at]`` as JSON text."""
    return _encode([progress.n, progress.total, progress.text, progress.at])


def load_progress(text: str) -> Progress:
    """The inverse of :func:`dump_progress`."""
    return Progress(*json.loads(text))


def _dump(value: object, what: str, too_large: type[PayloadTooLarge] = PayloadTooLarge) -> str:
    try:
        _refuse_silent_changes(value, what)
        text = _encode(value)
    except NotJson:
        raise
    except TypeError as error:
        raise NotJson(f"{what} must be JSON: {error}") from None
    except ValueError as error:  # NaN, infinity, a cycle
        raise NotJson(f"{what} must be JSON: {error}") from None
    except RecursionError:
        raise NotJson(f"{what} must be JSON: nested too deeply, or in a circle") from None
    if len(text) > PAYLOAD_CAP:  # the encoder escapes everything beyond ASCII: 1 char = 1 byte
        raise too_large(
            f"{what}: {len(text):,} bytes of JSON, over the cap of {PAYLOAD_CAP:,}:"
            " store the data elsewhere and pass where it is"
        )
    return text


def _refuse_silent_changes(value: object, what: str) -> None:
    """``json`` turns keys such as ``1`` or ``None`` into strings without a word: we refuse."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise NotJson(f"{what} must be JSON: the key {key!r} of a dict is not a string")
            if type(item) not in _PLAIN:
                _refuse_silent_changes(item, what)
    elif isinstance(value, (list, tuple)):
        for item in value:
            if type(item) not in _PLAIN:
                _refuse_silent_changes(item, what)
