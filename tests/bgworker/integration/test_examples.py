"""The examples do what they say: real servers, real workers, a request, its result.

The one for Django is run by ``test_django.py``.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bgworker import BgWorker, DuplicateTask, UnusableDatabase
from bgworker.contrib.fastapi import lifespan
from bgworker.inline import run_until_idle

EXAMPLES = Path(__file__).parents[3] / "examples"
WaitUntil = Callable[..., Any]


def ask(address: str) -> Any:
    with urllib.request.urlopen(address, timeout=25) as answer:
        return json.load(answer)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=1):
            return True
    except urllib.error.HTTPError as answer:
        answer.close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("name", "library", "command"),
    [
        ("flask_app", "flask", ["flask", "--app", "web", "run", "--port"]),
        ("fastapi_app", "uvicorn", ["uvicorn", "web:app", "--port"]),
    ],
)
def test_a_request_enqueues_and_a_worker_answers(
    name: str,
    library: str,
    command: list[str],
    url: str,
    worker: Callable[..., Any],
    marked: Any,
    free_port: int,
    tmp_path: Path,
    wait_until: WaitUntil,
) -> None:
    pytest.importorskip(library, reason="make venv-dev")
    folder = str(EXAMPLES / name)
    environment = marked.environment(BGWORKER_URL=url) | {"PYTHONPATH": folder}
    worker(app="web:bg", env={"PYTHONPATH": folder})
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", *command, str(free_port)],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        root = f"http://127.0.0.1:{free_port}"
        wait_until(lambda: answers(root), seconds=20, why=(tmp_path / "server.log").read_text)
        job = ask(f"{root}/words?text=a+rose+is+a+rose")["job"]

        assert ask(f"{root}/job/{job}")["result"].startswith("5 counted by F")
    finally:
        server.terminate()
        server.wait(10)


def test_the_plain_one_counts(url: str, worker: Callable[..., Any], marked: Any) -> None:
    folder = EXAMPLES / "plain"
    worker(app="tasks", env={"PYTHONPATH": str(folder)})

    done = subprocess.run(
        [sys.executable, "enqueue.py"],
        cwd=folder,
        env=marked.environment(BGWORKER_URL=url),
        capture_output=True,
        text=True,
        timeout=40,
        check=True,
    )

    assert done.stdout == "14\n"


def test_a_flask_task_has_the_context_of_its_app_wherever_it_runs(url: str) -> None:
    flask = pytest.importorskip("flask", reason="make venv-dev")
    from bgworker.contrib.flask import FlaskBgWorker

    bg = FlaskBgWorker()

    @bg.task(name="plain")
    def plain() -> str:
        return flask.current_app.name

    @bg.task(name="later")
    async def later() -> str:
        return flask.current_app.name

    with pytest.raises(RuntimeError, match="init_app"):
        plain()
    with pytest.raises(DuplicateTask):
        bg.task(name="plain")(lambda: None)

    app = flask.Flask("shop")
    app.config["BGWORKER_URL"] = url
    bg.init_app(app)

    jobs = [plain.delay(), later.delay()]
    assert run_until_idle(bg) == 2
    assert [job.result() for job in jobs] == ["shop", "shop"]
    assert plain() == "shop"
    assert app.extensions["bgworker"] is bg
    bg.close()


def test_a_server_does_not_start_with_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    async def serve() -> None:
        async with lifespan(BgWorker(f"sqlite:///{tmp_path}/jobs.db"))(None):
            pytest.fail("it started")

    (tmp_path / "jobs.db").write_text("no database, but long enough to be taken for one" * 99)

    with pytest.raises(UnusableDatabase):
        asyncio.run(serve())
