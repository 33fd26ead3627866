"""What all routes of the server share: who may, what is known, where things are written down."""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from bgtop.audit import AuditError
from bgtop.view.text import clean
from bgtop.web.auth import SAFE, Gate, Refused
from bgtop.web.grants import Person
from bgtop.web.guard import problem_of
from bgtop.web.hub import Hub
from bgworker.values import dataclass, field

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.actions import Performed
    from bgtop.audit import AuditLog

_MOST_NOTES: Final = 300
"""Refusals written down within a minute: nobody outside may fill the disk with them."""

Handler = Callable[["Request", Person], Awaitable[Response]]


@dataclass(slots=True)
class Site:
    """One running server."""

    hub: Hub
    gate: Gate
    audit: AuditLog | None
    control: bool
    report: Callable[[str], None] = lambda text: print(text, file=sys.stderr, flush=True)
    _noted: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_NOTES))

    def address(self, path: str) -> str:
        """Where something of this server is, for a browser."""
        return f"{self.gate.doors.prefix}/{path}"

    def asker(self, request: Request, person: Person | None) -> dict[str, str]:
        """Who asks, for the audit log."""
        place = self.gate.doors.place(request)
        if person is None:
            return {"name": "", "role": "", "how": "unknown", "from": place}
        role = person.grant.role.value
        return {"name": person.name, "role": role, "how": person.how, "from": place}

    def note_refusal(self, request: Request, person: Person | None, words: str) -> None:
        """Write down what was not done."""
        now = time.monotonic()
        if len(self._noted) == _MOST_NOTES and now - self._noted[0] < 60:
            return
        self._noted.append(now)
        what = f"{request.method} {clean(request.url.path)}"
        self.report(f"refused {what} from {self.gate.doors.place(request)}: {words}")
        self._write(lambda log: log.refuse(what, words, self.asker(request, person)))

    def note_entry(self, request: Request, person: Person, words: str = "") -> None:
        """Write down that somebody has logged in; ``how`` of the person says by what."""
        who = self.asker(request, person)
        self.report(f"{person.name} ({who['role']}) logged in by {person.how} from {who['from']}")
        self._write(lambda log: log.enter(words, who))

    def note(self, request: Request, person: Person, done: Performed, system: str | None) -> None:
        """Write down what was done, or why it was not."""
        who = self.asker(request, person)
        self._write(lambda log: log.write(done, system, who))

    def _write(self, line: Callable[[AuditLog], None]) -> None:
        if self.audit is None:
            return
        try:
            line(self.audit)
        except AuditError as fault:
            # What cannot be written down is not done from here on.
            self.control = self.hub.control = False
            self.report(f"{fault}; nothing is changed any more")


def problem(status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    """An error for programs."""
    said = problem_of(status, words)
    return Response(said, status, media_type="application/problem+json", headers=headers)


def for_programs(site: Site, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """A route that answers in JSON, for those who have proved who they are."""

    async def answer(request: Request) -> Response:
        person: Person | None = None
        try:
            person = await site.gate.somebody(request)
            if request.method not in SAFE:
                site.gate.check_change(request, person)
            return await handler(request, person)
        except Refused as refused:
            if not refused.noted and (request.method not in SAFE or refused.status == 429):
                site.note_refusal(request, person, refused.words)
            headers = dict(refused.headers)
            if refused.status == 401:
                headers["WWW-Authenticate"] = "Bearer"
            return problem(refused.status, refused.words, headers)

    return answer
