"""``django.tasks`` on bgworker: the example project, with real workers, in processes of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from started_worker import Marked

from bgtop.testing import wait_until

pytest.importorskip("django.tasks", reason="needs Django 6: Python 3.12, and make venv-dev")

EXAMPLE = Path(__file__).parents[3] / "examples/django_app"

# Waits for results, then prints them as JSON.
PREAMBLE = """
import json, time
from datetime import timedelta
from django.db import transaction
from django.utils import timezone

def ended(*results):
    deadline = time.monotonic() + 40
    for result in results:
        while not result.is_finished:
            assert time.monotonic() < deadline, result
            result.refresh()
    return results

def say(**values):
    print(json.dumps(values))
"""


class Site:
    """The example project with its files in a folder of the test's own."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment | {"SHOP_FOLDER": str(folder)}
        self.workers: list[subprocess.Popen[bytes]] = []

    def manage(self, *command: str, ok: bool = True, stdin: str = "") -> str:
        """Output of ``manage.py``, started in another folder than the project's."""
        done = subprocess.run(
            [sys.executable, EXAMPLE / "manage.py", *command],
            cwd=self.folder,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert (done.returncode == 0) is ok, done.stderr
        return done.stdout if ok else done.stderr

    def run(self, script: str) -> dict[str, Any]:
        """What a script in the project says."""
        program = (
            f"import sys; sys.path.insert(0, {str(EXAMPLE)!r})\n"
            "import django; django.setup()\n" + PREAMBLE + textwrap.dedent(script)
        )
        environment = {"DJANGO_SETTINGS_MODULE": "shop.settings"} | self.environment
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert done.returncode == 0, done.stderr + self.logs()
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    def logs(self) -> str:
        return "".join(log.read_text() for log in self.folder.glob("worker-*.log"))

    def worker(self, *options: str) -> None:
        """Start one; returns when it has begun."""
        path = self.folder / f"worker-{len(list(self.folder.glob('worker-*.log')))}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, EXAMPLE / "manage.py", "bgworker", "--concurrency", "2", *options],
                cwd=self.folder,
                env=self.environment,
                stderr=log,
            )
        self.workers.append(process)
        wait_until(
            lambda: process.poll() is not None or "worker_start" in path.read_text(),
            seconds=40,
            why="the worker starts",
        )
        assert process.poll() is None, path.read_text()

    def close(self) -> None:
        """Stop its workers; they must obey."""
        for process in self.workers:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(15) == 0


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tables have been made, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    Site(folder, Marked().environment()).manage("migrate")
    return folder


@pytest.fixture
def site(tmp_path: Path, migrated: Path, marked: Any) -> Iterator[Site]:
    shutil.copytree(migrated, tmp_path, dirs_exist_ok=True)
    site = Site(tmp_path, marked.environment())
    yield site
    site.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Iterator[Site]:
    """With a worker for the jobs of its own file, for tests that ask what became of their own."""
    folder, marked = tmp_path_factory.mktemp("served"), Marked()
    shutil.copytree(migrated, folder, dirs_exist_ok=True)
    site = Site(folder, marked.environment())
    site.worker("--backend", "default")
    yield site
    site.close()
    marked.kill()


def test_the_example_answers_a_request_and_a_worker_does_the_rest(served: Site) -> None:
    said = served.run("""
        from django.test import Client
        client = Client(HTTP_HOST="localhost")
        made = client.get("/order/ann").json()
        deadline = time.monotonic() + 40
        while (job := client.get(f"/job/{made['job']}").json())["status"] != "SUCCESSFUL":
            assert time.monotonic() < deadline, job
        from shop.models import Order
        say(job=job, confirmed=Order.objects.get(id=made["order"]).confirmed)
    """)

    assert said == {
        "job": {"status": "SUCCESSFUL", "value": "confirmed to ann"},
        "confirmed": True,
    }


def test_a_job_in_the_same_file_is_there_if_and_only_if_the_transaction_commits(site: Site) -> None:
    said = site.run("""
        from django.tasks.exceptions import TaskResultDoesNotExist
        from shop.tasks import confirm
        from shop.models import Order
        kept = []
        for fails in (True, False):
            try:
                with transaction.atomic():
                    row = Order.objects.create(customer="ann")
                    result = confirm.enqueue(row.id)
                    if fails:
                        raise LookupError
            except LookupError:
                pass
            try:
                result.refresh()
                kept.append(result.status)
            except TaskResultDoesNotExist:
                kept.append(None)
        say(kept=kept, rows=Order.objects.count())
    """)

    assert said == {"kept": [None, "READY"], "rows": 1}


def test_on_commit_a_job_of_another_file_is_stored_after_the_transaction(site: Site) -> None:
    site.worker("--backend", "apart")

    said = site.run("""
        from django.tasks.exceptions import TaskResultDoesNotExist
        from shop.tasks import add
        with transaction.atomic():
            result = add.enqueue(1, b=2)
            try:
                result.refresh()
                early = True
            except TaskResultDoesNotExist:
                early = False
        ended(result)
        say(early=early, value=result.return_value)
    """)

    assert said == {"early": False, "value": 3}


def test_results_tell_what_happened(served: Site) -> None:
    said = served.run("""
        from shop.tasks import refuse, who
        from asgiref.sync import async_to_sync
        context, failed = ended(async_to_sync(who.aenqueue)(), refuse.enqueue("no"))
        again = who.get_result(context.id)
        later = who.using(run_after=timezone.now() + timedelta(hours=1), priority=-7).enqueue()
        later.refresh()
        (error,) = failed.errors
        say(
            context=context.return_value == [context.id, 1],
            same=again == context,
            times=context.enqueued_at <= context.started_at <= context.finished_at,
            attempts=[context.attempts, failed.attempts, later.attempts],
            failed=[failed.status, error.exception_class.__name__, error.traceback[-15:]],
            later=[later.status, later.task.priority, later.task.run_after > timezone.now()],
        )
    """)

    assert said == {
        "context": True,
        "same": True,
        "times": True,
        "attempts": [1, 1, 0],
        "failed": ["FAILED", "ValueError", "ValueError: no\n"],
        "later": ["READY", -7, True],
    }


def test_the_command_has_the_options_of_any_worker(site: Site) -> None:
    """Here: threads, of which each has a database connection of its own, and short-lived ones."""
    site.worker("--backend", "default", "--pool", "thread", "--max-jobs-per-child", "2")
    said = site.run("""
        from shop.tasks import who
        results = ended(*[who.enqueue() for _ in range(6)])
        say(states=[result.status for result in results])
    """)

    assert said == {"states": ["SUCCESSFUL"] * 6}


def test_higher_priorities_run_first_and_queues_can_be_chosen(site: Site) -> None:
    order = site.run("""
        from shop.tasks import refuse, who
        results = [who.using(priority=p).enqueue() for p in (-5, 100, 0)]
        results.append(refuse.enqueue("other queue"))
        say(ids=[result.id for result in results])
    """)
    site.worker("--backend", "default", "--concurrency", "1", "--queues", "default")

    said = site.run(f"""
        from django.tasks import default_task_backend
        results = [default_task_backend.get_result(id_) for id_ in {order["ids"]!r}]
        low, high, middle = ended(*results[:3])
        results[3].refresh()
        say(order=high.started_at <= middle.started_at <= low.started_at, other=results[3].status)
    """)

    assert said == {"order": True, "other": "READY"}


def test_a_task_whose_worker_was_killed_runs_again(site: Site, marked: Any) -> None:
    site.worker("--backend", "apart")
    made = site.run("""
        from shop.tasks import hang
        say(id=hang.enqueue(str(__import__("pathlib").Path.cwd() / "begun")).id)
    """)
    wait_until((site.folder / "begun").exists, seconds=20, why="it runs")
    killed = site.workers.pop()
    killed.kill()
    killed.wait()
    wait_until(lambda: not marked.alive(), why="all of its processes are gone")
    site.worker("--backend", "apart")

    said = site.run(f"""
        from shop.tasks import hang
        (result,) = ended(hang.get_result({made["id"]!r}))
        say(status=result.status, attempts=result.attempts)
    """)

    assert said == {"status": "SUCCESSFUL", "attempts": 2}


def test_settings_that_make_no_sense_are_told_by_check(site: Site, tmp_path: Path) -> None:
    assert "--backend: one of TASKS" in site.manage("bgworker", ok=False), "there are two"
    (tmp_path / "no_urls.py").write_text("urlpatterns = []")
    (tmp_path / "wrong.py").write_text(
        textwrap.dedent("""
        from shop.settings import *
        ROOT_URLCONF = "no_urls"
        INSTALLED_APPS = ["bgworker.contrib.django"]
        KIND = "bgworker.contrib.django.backend.BgWorkerBackend"
        TASKS = {
            "default": {"BACKEND": KIND, "OPTIONS": {"database": "default", "url": "x", "ur": 1}},
            "nowhere": {"BACKEND": KIND, "OPTIONS": {"database": "nowhere"}},
            "memory": {"BACKEND": KIND, "OPTIONS": {"database": "memory"}},
        }
        DATABASES["memory"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        """)
    )
    site.environment |= {
        "DJANGO_SETTINGS_MODULE": "wrong",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(EXAMPLE)]),
    }

    said = site.manage("check", ok=False)

    assert "TASKS['default']: unknown OPTIONS ur; known: database, on_commit, timeout, url" in said
    assert "TASKS['default']: OPTIONS: database= excludes url= and on_commit=" in said
    assert "TASKS['nowhere']: The connection 'nowhere' doesn't exist." in said
    assert "TASKS['memory']: DATABASES['memory'] is no SQLite file" in said


def test_the_package_django_tasks_is_served_too(site: Site, tmp_path: Path) -> None:
    pytest.importorskip("django_tasks", reason="make venv-dev")
    (tmp_path / "no_urls.py").write_text("urlpatterns = []")
    (tmp_path / "older.py").write_text(
        textwrap.dedent(f"""
        from shop.settings import *
        ROOT_URLCONF = "no_urls"
        INSTALLED_APPS = ["django_tasks", "bgworker.contrib.django"]
        TASKS = {{
            "default": {{
                "BACKEND": "bgworker.contrib.django.backport.BgWorkerBackend",
                "OPTIONS": {{"url": "sqlite:///{tmp_path}/older.db"}},
            }}
        }}
        """)
    )
    (tmp_path / "older_tasks.py").write_text(
        textwrap.dedent("""
        from django_tasks import task

        @task(takes_context=True)
        def twice(context, word):
            return [context.attempt, word * 2]
        """)
    )
    site.environment |= {
        "DJANGO_SETTINGS_MODULE": "older",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(EXAMPLE)]),
    }
    site.worker()

    said = site.run("""
        from older_tasks import twice
        (result,) = ended(twice.enqueue("ab"))
        say(value=result.return_value)
    """)

    assert said == {"value": [1, "abab"]}
