"""Publishes events as Celery's producers and prefork workers do, at a steady rate.

``event_source.py PORT RATE EVENTS``. Their shape is that of Celery 5.7: a producer says
``task-sent`` by itself, a busy worker its events in lists of one to three (measured: 1.9 on
average, 500 bytes of envelope for each). At its end it prints what it said, as JSON.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from base64 import b64encode
from uuid import uuid4

WORKERS = 4
TASKS = 20
_STEP = 0.01
_HEARTBEAT = 2.0

_ENVELOPE = (
    '{"body": "%s", "content-encoding": "utf-8", "content-type": "application/json", '
    '"headers": {"hostname": "%s"}, "properties": {"delivery_mode": 1, "delivery_info": '
    '{"exchange": "celeryev", "routing_key": "%s"}, "priority": 0, "body_encoding": "base64", '
    '"delivery_tag": "7d8f1e7c-7d6c-4a6f-a8a9-1e1d9b2f3c4d"}}'
)
_WHO = '{"hostname": "%s", "utcoffset": 0.0, "pid": %d, "clock": %d, '
_CALL = (
    '"uuid": "%s", "name": "app.tasks.job_%02d", "args": "(1, 2)", "kwargs": "{}", '
    '"root_id": "%s", "parent_id": null, "retries": 0, "eta": null, "expires": null, '
)
_SENT = '"queue": "queue-%d", "exchange": "", "routing_key": "queue-%d", '
_RESULT = '"uuid": "%s", "result": "3", "runtime": 0.00015289500151993707, '
_END = '"timestamp": %.7f, "type": "%s"}'
_BEAT = '"freq": 2.0, "active": 1, "processed": %d, "loadavg": [1.0, 1.0, 1.0], '
_SOFTWARE = '"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux", '


class Source:
    """A producer and some workers."""

    def __init__(self, port: int) -> None:
        self.said = 0
        self.done = 0
        self._link = socket.create_connection(("127.0.0.1", port))
        self._out: list[bytes] = []
        self._clock = 0
        self._lists: list[list[str]] = [[] for _ in range(WORKERS)]
        self._begun = [0] * WORKERS
        self._messages = 0

    def task(self, number: int, now: float) -> None:
        """The four events of one task."""
        worker, kind, id_ = number % WORKERS, number % TASKS, str(uuid4())
        call = _CALL % (id_, kind, id_)
        queue = _SENT % (kind % 5, kind % 5)
        self._publish("gen@bench", "task.sent", self._event("gen@bench", call + queue, now, "sent"))
        node = f"worker-{worker}@bench"
        self._begun[worker] += 1
        for fields, type_ in (
            (call, "received"),
            (f'"uuid": "{id_}", ', "started"),
            (_RESULT % id_, "succeeded"),
        ):
            self._tell(worker, node, self._event(node, fields, now, type_))
        self.said += 4
        self.done += 1

    def _event(self, node: str, fields: str, now: float, type_: str) -> str:
        self._clock += 1
        return _WHO % (node, 4711, self._clock) + fields + _END % (now, f"task-{type_}")

    def _tell(self, worker: int, node: str, event: str) -> None:
        gathered = self._lists[worker]
        gathered.append(event)
        if len(gathered) > self._messages % 3:
            self._publish(node, "task.multi", "[" + ", ".join(gathered) + "]")
            gathered.clear()

    def beat(self, now: float) -> None:
        """A heartbeat of each worker."""
        for worker in range(WORKERS):
            node = f"worker-{worker}@bench"
            self._clock += 1
            fields = _BEAT % self._begun[worker] + _SOFTWARE
            event = _WHO % (node, 4711, self._clock) + fields + _END % (now, "worker-heartbeat")
            self._publish(node, "worker.heartbeat", event)

    def _publish(self, node: str, key: str, body: str) -> None:
        self._messages += 1
        payload = (_ENVELOPE % (b64encode(body.encode()).decode(), node, key)).encode()
        channel = b"/0.celeryev/" + key.encode()
        self._out.append(
            b"*3\r\n$7\r\nPUBLISH\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n"
            % (len(channel), channel, len(payload), payload)
        )

    def flush(self, *, last: bool = False) -> None:
        """Send what was gathered, and take Redis at its word."""
        for worker, gathered in enumerate(self._lists if last else ()):
            if gathered:
                self._publish(
                    f"worker-{worker}@bench", "task.multi", "[" + ", ".join(gathered) + "]"
                )
                gathered.clear()
        answers = len(self._out)
        self._link.sendall(b"".join(self._out))
        self._out.clear()
        while answers > 0:
            answers -= self._link.recv(65_536).count(b"\n")


def main() -> None:
    """Say so many events at this rate."""
    port, rate, events = (int(word) for word in sys.argv[1:4])
    source = Source(port)
    began = time.monotonic()
    beat, number, late = 0.0, 0, 0.0
    while source.said < events:
        elapsed = time.monotonic() - began
        if elapsed >= beat:
            source.beat(time.time())
            beat += _HEARTBEAT
        now = time.time()
        while source.said < min(events, elapsed * rate):
            source.task(number, now)
            number += 1
        source.flush()
        spent = time.monotonic() - began
        late = max(late, spent - source.said / rate)
        time.sleep(max(0.0, _STEP - (spent - elapsed)))
    source.flush(last=True)
    seconds = time.monotonic() - began
    cpu = time.process_time() / seconds * 100
    print(json.dumps({"said": source.said, "tasks": source.done, "seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()
