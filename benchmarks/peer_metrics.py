"""What Flower, celery-exporter and rq-exporter really tell, for tests/bgtop/golden/peers.json.

usage: peer_metrics.py PYTHON > tests/bgtop/golden/peers.json

PYTHON (3.11 or 3.12) has them: pip install flower rq-exporter prometheus-exporter-celery packaging,
then pip install 'redis>=6.1', which Celery needs and which all of them can work with. Each watches
the same Redis while jobs end in every way. What is kept are names, types, labels and buckets.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

TASKS = """
from celery import Celery
app = Celery("tasks", broker="redis://127.0.0.1:{port}/0")
app.conf.update(task_send_sent_event=True, worker_send_task_events=True)
@app.task(name="ok")
def ok(): pass
@app.task(name="bad")
def bad(): raise KeyError
@app.task(name="again", bind=True, max_retries=1)
def again(self): raise self.retry(countdown=0.1, exc=ValueError("y"))
"""
SEND = """
import tasks, rq, redis
for task in (tasks.ok, tasks.bad, tasks.again): task.delay()
tasks.ok.apply_async(countdown=100).revoke()
queue = rq.Queue(connection=redis.Redis(port={port}, db=1))
queue.enqueue("time.time"), queue.enqueue("builtins.int", "x")
"""
EXPORTER = "from src.cli import cli; cli()"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def scraped(port: int, wanted: str) -> str:
    """The metrics there, once they tell of this."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                text: str = answer.read().decode()
        except OSError:
            text = ""
        if wanted in text:
            return text
        time.sleep(0.5)
    raise SystemExit(f"{wanted!r} is not told within a minute")


def told(text: str, prefix: str) -> dict[str, list[object]]:
    """By family: its type, its labels and its buckets."""
    found: dict[str, list[object]] = {}
    for family in text_string_to_metric_families(text):
        if family.name.startswith(prefix) and not family.name.endswith("_created"):
            samples = [each for each in family.samples if not each.name.endswith("_created")]
            labels = sorted({name for each in samples for name in each.labels} - {"le"})
            bounds = {each.labels["le"] for each in samples if "le" in each.labels}
            found[family.name] = [family.type, labels, sorted(bounds, key=float)]
    return found


def main(python: str) -> None:
    """Run all of it and print what was told."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        redis, flower, celery, rq = (free_port() for _ in range(4))
        Path(folder, "tasks.py").write_text(TASKS.format(port=redis))
        settings = {"RQ_REDIS_PORT": str(redis), "RQ_REDIS_DB": "1"}
        environment = {**os.environ, **settings, "PYTHONPATH": folder}

        def start(*command: str) -> None:
            quiet = subprocess.DEVNULL
            process = subprocess.Popen(
                command, cwd=folder, env=environment, stdout=quiet, stderr=quiet
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)

        url = f"redis://127.0.0.1:{redis}"
        start("redis-server", "--port", str(redis), "--save", "")
        start(python, "-m", "celery", "-A", "tasks", "flower", f"--port={flower}")
        start(python, "-c", EXPORTER, f"--broker-url={url}/0", f"--port={celery}")
        start(python, "-m", "rq_exporter", "--port", str(rq))
        start(python, "-m", "celery", "-A", "tasks", "worker", "-E", "-c", "1", "-n", "w@h")
        start(python, "-m", "rq.cli", "worker", "-u", f"{url}/1", "default")
        scraped(flower, "flower_worker_online")
        scraped(celery, "celery_worker_up{")
        scraped(rq, "rq_workers{")
        sent = [python, "-c", SEND.format(port=redis)]
        subprocess.run(sent, cwd=folder, env=environment, check=True)
        peers = {
            "flower": told(scraped(flower, 'type="task-failed"'), "flower_"),
            "celery-exporter": told(scraped(celery, 'exception="ValueError"'), "celery_"),
            "rq-exporter": told(scraped(rq, "rq_jobs{"), "rq_"),
        }
    sys.stdout.write(json.dumps(peers, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
