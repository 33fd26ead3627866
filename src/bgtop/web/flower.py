"""Flower's interface for Celery's sources: all of its routes that are answered here.

Paths, parameters, texts and codes are those of Flower 2.2.0, so that what asks Flower today can ask
here. Where they differ is in ``docs/reference/api.md``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from bgtop.web import flower_control, flower_pages, flower_seen, flower_tasks, flower_workers
from bgtop.web.flower_answers import for_people, for_programs, json_of, reachable

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.web.flower_answers import Handler
    from bgtop.web.grants import Person
    from bgtop.web.site import Site


def routes(site: Site) -> list[Route]:
    """All of them; what needs credentials in Flower needs them here."""
    found = [
        Route("/healthcheck", _healthcheck, methods=["GET"]),
        Route("/workers", for_people(site, flower_workers.workers_page), methods=["GET"]),
    ]
    shown = [(path, for_people(site, handler), methods) for path, handler, methods in _pages()]
    found += [Route(path, answer, methods=methods) for path, answer, methods in shown]
    asked = [(path, handler, "GET") for path, handler in _reading()]
    asked += [(path, handler, "POST") for path, handler in _changing()]
    for path, handler, method in asked:
        found += [
            Route(path, for_programs(site, handler), methods=[method]),
            Route(path, _options, methods=["OPTIONS"]),
        ]
    return found


def _pages() -> list[tuple[str, Handler, list[str]]]:
    return [
        ("/worker/{name:path}", flower_pages.worker, ["GET"]),
        ("/task/{name:path}", flower_pages.task, ["GET"]),
        ("/broker", flower_pages.broker, ["GET"]),
        # A form, as a query of DataTables is long; nothing is changed by it.
        ("/tasks/datatable", flower_seen.datatable, ["GET", "POST"]),
    ]


def _reading() -> list[tuple[str, Handler]]:
    return [
        ("/api/workers", flower_workers.workers),
        ("/api/queues/length", _lengths),
        ("/api/tasks", flower_seen.tasks),
        ("/api/task/types", flower_tasks.types),
        ("/api/task/info/{name:path}", flower_tasks.info),
        ("/api/task/result/{name:path}", flower_tasks.result),
    ]


def _changing() -> list[tuple[str, Handler]]:
    steering = (
        ("worker", flower_control.TO_WORKERS, flower_control.of_worker),
        ("task", flower_control.TO_KINDS, flower_control.of_kind),
        ("task", flower_control.TO_TASKS, flower_control.of_task),
    )
    send = flower_tasks.send
    return [
        *(
            (f"/api/{what}/{path}/{{name:path}}", answering(make))
            for what, makers, answering in steering
            for path, make in makers
        ),
        ("/api/task/apply/{name:path}", send(known=True, waits=True)),
        ("/api/task/async-apply/{name:path}", send(known=True, waits=False)),
        ("/api/task/send-task/{name:path}", send(known=False, waits=False)),
    ]


async def _healthcheck(_request: Request) -> Response:
    return Response("OK", media_type="text/html")


async def _options(_request: Request) -> Response:
    return Response(status_code=204)


async def _lengths(site: Site, _request: Request, person: Person) -> Response:
    """``GET /api/queues/length``: for RabbitMQ those fields of its management that are known."""
    found = []
    for source in reachable(site, person):
        for queue in source.reading.queues if source.reading else ():
            row: dict[str, Any] = {"name": queue.name, "messages": queue.depth}
            if source.info.broker == "rabbitmq":
                total = None if queue.depth is None else queue.depth + (queue.unacked or 0)
                row["messages"] = total if queue.unacked is not None else queue.depth
                row["messages_ready"] = queue.depth
                row["messages_unacknowledged"] = queue.unacked
                row["consumers"] = queue.consumers
            found.append(row)
    return json_of({"active_queues": found})
