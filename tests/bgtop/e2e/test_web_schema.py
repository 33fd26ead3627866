"""The OpenAPI document holds for what the server answers, whatever it is asked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from scripted_source import Script, install
from web_desk import WebServer

from bgtop.testing import wait_until
from bgtop.web.credentials import hash_of_token

schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    folder = tmp_path_factory.mktemp("web")
    around = {**os.environ, "HOME": str(folder), **install(folder / "site")}
    script = Script(folder / "script.json")
    script.write(
        queues=[{"name": "mail", "depth": 3, "by_priority": {"0": 3}, "oldest": 4.5}],
        workers=[{"name": "w1", "beat": 1, "queues": ["mail"]}],
        jobs=[{"id": "j1", "queue": "mail", "state": "failed", "name": "send", "ended": 5}],
        types=[{"name": "send", "failed": 1, "exceptions": {"ValueError": 1}}],
        beat=[{"name": "nightly", "task": "send", "rule": "0 3 * * *", "next": -60}],
    )
    tokens = folder / "tokens"
    tokens.write_text(f"adam admin {hash_of_token('adam')}\n")
    tokens.chmod(0o600)
    options = ["--listen", "127.0.0.1:0", "--allow-control", "--token-file", str(tokens)]
    server = WebServer([script.url, *options], around, folder)
    wait_until(lambda: server.get("/readyz").status == 200, why="the first reading")
    yield server
    server.close()


@pytest.mark.parametrize("kind", ["POSITIVE", "NEGATIVE"])
def test_answers_are_as_described(web: WebServer, kind: str) -> None:
    """Requests that the document allows, and those it does not."""
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis.errors import Unsatisfiable
    from schemathesis import GenerationMode
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    headers = {"Authorization": "Bearer adam"}
    document: Any = web.get("/api/v1/openapi.json", **headers).json
    schema = schemathesis.openapi.from_dict(document)
    checks = [CHECKS.get_one(name) for name in _CHECKS]
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(
            max_examples=20,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=GenerationMode[kind]))
        def holds(case: Any) -> None:
            case.call_and_validate(base_url=f"{web.url}/api/v1", headers=headers, checks=checks)

        try:
            holds()
        except Unsatisfiable:  # an operation without parameters: nothing about it can be wrong
            assert kind == "NEGATIVE"
        tried.append(operation.label)

    assert len(tried) == len(document["paths"])
    assert not [line for line in web.lines if "Traceback" in line]
    assert web.get("/healthz").status == 200
