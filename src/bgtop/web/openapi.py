"""The OpenAPI document of ``/api/v1/``, made of the routes and of what their records hold."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from bgtop import __version__
from bgtop.jobs import JobState
from bgtop.state.worker_views import WorkerView
from bgtop.symptoms import Severity
from bgtop.view.lists import QUEUES, SCHEDULES, TASKS, TYPES, WORKERS, Kind
from bgtop.web.api import LARGEST_LIMIT, LONGEST_TEXT, READING, Reading
from bgtop.web.grants import Role
from bgtop.web.verbs import (
    KINDS,
    LARGEST,
    LONGEST,
    RATE,
    SIGNAL,
    fields_of,
    required_of,
)

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string"}
_FLAG: Final[Schema] = {"type": "boolean"}
_COUNT: Final[Schema] = {"type": "integer"}
_NUMBER: Final[Schema] = {"type": "number"}
_TEXTS: Final[Schema] = {"type": "array", "items": _TEXT}
_COUNTS: Final[Schema] = {"type": "object", "additionalProperties": _COUNT}

_MOMENT: Final = re.compile(r".*_at$")
_SPAN: Final = re.compile(r".*(_seconds|_per_second|_percent)$")
_ALWAYS: Final = frozenset(
    {"name", "id", "state", "source", "internal", "malformed", "parents", "children", "facts",
     "url", "broker", "warnings", "verbs", "tells", "severity", "code", "subject", "words",
     "evidence", "mend"}
)  # fmt: skip
"""Fields that are never null; ``name`` of a job is the exception, as tasks may be unreadable."""

_KNOWN: Final[dict[str, Schema]] = {
    **dict.fromkeys(("internal", "malformed", "paused", "enabled"), _FLAG),
    **dict.fromkeys(("parents", "children", "warnings", "verbs", "tells", "queues"), _TEXTS),
    **dict.fromkeys(("by_priority", "exceptions", "totals"), _COUNTS),
    **dict.fromkeys(
        ("depth", "unacked", "scheduled", "deferred", "running", "failed", "dead", "consumers",
         "concurrency", "processed", "rss_bytes", "pid", "waiting", "succeeded", "sampled",
         "attempts", "attempts_left", "priority", "round_trips", "commands"),
        _COUNT,
    ),
    "facts": {"type": "object", "additionalProperties": _TEXT},
    "oldest_age_is": {"type": "string", "enum": ["exact", "at_least"]},
    "rates_are": {"type": "string", "enum": ["counted", "estimated"]},
    "runtime_percentiles_are": {"type": "string", "enum": ["exact", "estimated"]},
    "severity": {"type": "string", "enum": [severity.value for severity in Severity]},
    "current": {
        "type": "array",
        "items": {
            "type": "object",
            "required": ["id", "name", "started_at"],
            "properties": {
                "id": _TEXT,
                "name": _TEXT,
                "started_at": {"type": ["string", "null"], "format": "date-time"},
            },
        },
    },
}  # fmt: skip

_SOURCE_KEYS: Final = (
    "name", "url", "system", "broker", "broker_version", "taken_at", "poll_seconds", "round_trips",
    "commands", "error", "warnings", "totals",
)  # fmt: skip
_FINDING_KEYS: Final = (
    "code", "severity", "source", "system", "subject", "words", "evidence", "mend",
)  # fmt: skip
_COMPONENTS: Final[dict[str, Kind]] = {
    "Queue": QUEUES,
    "Worker": WORKERS,
    "Task": TASKS,
    "TaskType": TYPES,
    "Schedule": SCHEDULES,
}


@lru_cache(maxsize=4)
def document(prefix: str) -> Schema:
    """The whole document; ``prefix`` is where the server is mounted."""
    paths = {
        f"/{reading.path.replace(':path', '')}": {"get": _operation(reading)} for reading in READING
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bgtop",
            "version": __version__,
            "description": "What is known of job systems, and what can be done to them. null means "
            "that a system cannot tell. Changes need --allow-control and credentials.",
        },
        "servers": [{"url": f"{prefix}/api/v1"}],
        "security": [{"token": []}, {"password": []}, {}],
        "paths": {**paths, "/me": {"get": _me()}, "/actions": {"post": _change()}},
        "components": {
            "schemas": {
                **{name: _record(tuple(kind.empty), name) for name, kind in _COMPONENTS.items()},
                "Source": _record(_SOURCE_KEYS, "Source"),
                "WorkerView": _worker_view(),
                "Finding": _record(_FINDING_KEYS, "Finding"),
                "Problem": _problem(),
                "Action": _action(),
            },
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "password": {"type": "http", "scheme": "basic"},
            },
        },
    }


def _record(keys: tuple[str, ...], name: str) -> Schema:
    return {
        "type": "object",
        "required": list(keys),
        "properties": {key: _field(key, name) for key in keys},
    }


def _field(key: str, record: str) -> Schema:
    found = _KNOWN.get(key)
    if found is None and _MOMENT.match(key):
        found = {"type": "string", "format": "date-time"}
    if found is None and _SPAN.match(key):
        found = _NUMBER
    if found is None:
        found = _TEXT
    if key in _ALWAYS and not (key == "name" and record == "Task"):
        return found
    nullable = {**found, "type": [found["type"], "null"]}
    if "enum" in nullable:
        nullable["enum"] = [*nullable["enum"], None]
    return nullable


def _worker_view() -> Schema:
    """What ``docs/reference/inspect.md`` describes; workers may leave out anything."""
    known = {"name": _TEXT, "source": _TEXT, "status": _TEXT, "answered": _TEXTS}
    keys = list(WorkerView.__annotations__)
    return {"type": "object", "required": keys, "properties": {k: known.get(k, {}) for k in keys}}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list_of(name: str) -> Schema:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


_HEAD: Final[Schema] = {
    "schema": {"const": 1},
    "taken_at": {"type": "string", "format": "date-time"},
    "sources": _list_of("Source"),
}


def _body(reading: Reading) -> Schema:
    """What a route answers."""
    names = {kind.name: name for name, kind in _COMPONENTS.items()}
    if reading.kind is not None:
        rows = _list_of(names[reading.kind.name])
        return _object(**_HEAD, **{reading.kind.name: rows}, hidden=_COUNT)
    match reading.path:
        case "snapshot":
            totals = {"type": "object"}
            return _object(
                **_HEAD, queues=_list_of("Queue"), workers=_list_of("Worker"), totals=totals
            )
        case "findings":
            return _object(**_HEAD, findings=_list_of("Finding"))
        case "sources":
            return _object(**_HEAD)
        case "inspect":
            return _object(schema=_HEAD["schema"], workers=_list_of("WorkerView"))
        case _:
            head = {key: _HEAD[key] for key in ("schema", "taken_at")}
            return _object(**head, task={"$ref": "#/components/schemas/Task"})


def _operation(reading: Reading) -> Schema:
    in_path = "{" in reading.path
    asks = reading.path == "inspect"
    failures = [400, 401, 404, *([409] if in_path else []), 429, *([403, 503] if asks else [])]
    parameters = [_parameter(name) for name in reading.parameters]
    if in_path:
        text = {**_TEXT, "minLength": 1, "maxLength": LONGEST_TEXT}
        parameters.append({"name": "id", "in": "path", "required": True, "schema": text})
    return {
        "operationId": "read_"
        + re.sub(r"\W+", "_", reading.path.partition("{")[0]).strip("_")
        + ("_one" if in_path else ""),
        "summary": reading.words,
        "parameters": parameters,
        "responses": {"200": _says("what is known", _body(reading)), **_problems(failures)},
    }


def _parameter(name: str) -> Schema:
    text: Schema = {**_TEXT, "maxLength": LONGEST_TEXT}
    schemas: dict[str, tuple[str, Schema]] = {
        "source": ("the name, the title or the system of a source", text),
        "filter": ("as on the screen: words are patterns, FIELD:word, FIELD>NUMBER", text),
        "sort": ("a field; largest or A first, ! before it turns it round", text),
        "limit": (
            "at most so many rows",
            {"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT},
        ),
        "state": (
            "only in these states",
            {"type": "array", "items": {"enum": [state.value for state in JobState]}},
        ),
        "queue": ("only of this queue", text),
        "worker": ("only of this worker", text),
    }
    words, schema = schemas[name]
    return {"name": name, "in": "query", "description": words, "schema": schema}


def _me() -> Schema:
    body = _object(
        name=_TEXT,
        role={"enum": [role.value for role in Role]},
        how=_TEXT,
        control=_FLAG,
        verbs=_TEXTS,
        sources=_TEXTS,
        queues=_TEXTS,
    )
    return {
        "operationId": "who_am_i",
        "summary": "Who asks, and what that may do here.",
        "responses": {"200": _says("you", body), **_problems([400, 401, 429])},
    }


def _action() -> Schema:
    """One alternative for each verb: the same fields as on the command line."""
    beside = {
        "source": {**_TEXT, "minLength": 1, "maxLength": LONGEST},
        "dry_run": {**_FLAG, "description": "change nothing; answer what would be asked first"},
    }
    alternatives = []
    for verb, kind in KINDS.items():
        own = {name: _property(name, types) for name, types in fields_of(kind).items()}
        required = required_of(kind)
        alternatives.append(
            {
                "type": "object",
                "required": ["verb", *required],
                "additionalProperties": False,
                "properties": {"verb": {"const": verb}, **own, **beside},
            }
        )
    return {"oneOf": alternatives}


def _property(name: str, types: tuple[type, ...]) -> Schema:
    if name == "signal":
        return {**_TEXT, "pattern": f"^{SIGNAL}$"}
    if name == "rate":
        return {**_TEXT, "pattern": f"^{RATE}$"}
    found = [_OF_TYPE[type_] for type_ in types]
    return found[0] if len(found) == 1 else {"oneOf": found}


_OF_TYPE: Final[dict[type, Schema]] = {
    str: {**_TEXT, "minLength": 1, "maxLength": LONGEST},
    bool: _FLAG,
    int: {**_COUNT, "minimum": 0, "maximum": LARGEST},
    float: {**_NUMBER, "minimum": 0, "maximum": LARGEST},
}


def _change() -> Schema:
    nullable = {"type": ["string", "null"]}
    done = _object(
        verb=_TEXT,
        source=_TEXT,
        system=nullable,
        changed={"type": ["integer", "null"]},
        words=_TEXT,
    )
    asked = _object(verb=_TEXT, question=_TEXT, able=_FLAG)
    return {
        "operationId": "act",
        "summary": "Do something to a job, a queue or a task; or ask what would be done.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Action"}}},
        },
        "responses": {
            "200": _says("what was done, or what would be asked", {"oneOf": [done, asked]}),
            **_problems([400, 401, 403, 404, 409, 415, 422, 429, 503, 504]),
        },
    }


def _problem() -> Schema:
    return _object(type=_TEXT, title=_TEXT, status=_COUNT, detail=_TEXT)


def _says(words: str, schema: Schema, kind: str = "application/json") -> Schema:
    return {"description": words, "content": {kind: {"schema": schema}}}


def _problems(statuses: list[int]) -> Schema:
    refused = {"$ref": "#/components/schemas/Problem"}
    words = {
        400: "a parameter or the body is none",
        401: "credentials are needed, or wrong",
        403: "not permitted",
        404: "not there",
        409: "several could be meant, or the system refused",
        415: "the body is no JSON",
        422: "this system cannot do that",
        429: "too many failed log-ins",
        503: "the source cannot be reached",
        504: "no answer in time, of a worker or at all",
    }
    return {str(s): _says(words[s], refused, "application/problem+json") for s in statuses}
