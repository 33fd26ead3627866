"""Who asks, and whether a change really comes from one of our pages or from a program.

A browser sends cookies and remembered passwords along with requests that other people's pages
make. So a change by a session needs the session's own word and an ``Origin`` that is ours, and
nothing that comes from elsewhere is taken, whatever its credentials.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bgtop.web.grants import ANYBODY, Person
from bgtop.web.sessions import Attempts, Passed, Sessions
from bgworker.values import dataclass

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.web.credentials import Account, Accounts

COOKIE: Final = "bgtop_session"
GUARD_HEADER: Final = "x-bgtop-guard"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_AT_ONCE: Final = 2
"""Passwords that are checked at a time: each takes a processor and 16 MiB for a while."""


class Refused(Exception):
    """A request that is not answered as it was meant; ``status`` is that of HTTP.

    ``noted``: it is in the audit log already.
    """

    noted = False

    def __init__(self, status: int, words: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.status, self.words, self.headers = status, words, headers or {}


@dataclass(frozen=True, slots=True)
class Doors:
    """How the server is reached: below which path, through a proxy, by TLS."""

    prefix: str = ""
    behind_proxy: bool = False
    tls: bool = False

    def place(self, request: Request) -> str:
        """Where a request comes from, as far as that can be known."""
        if self.behind_proxy:
            # The proxy adds whom it has seen at the end; what stands before was sent to it.
            seen = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            if seen:
                return seen[:64]
        return request.client.host if request.client and request.client.host else "local socket"

    def hosts(self, request: Request) -> set[str]:
        """What this server is called in this request."""
        names = {request.headers.get("host", "")}
        if self.behind_proxy:
            names.add(request.headers.get("x-forwarded-host", ""))
        return names - {""}

    def address(self, request: Request, path: str) -> str:
        """Where a browser finds something of this server, whole."""
        host = request.headers.get("host", "")
        if self.behind_proxy:
            host = request.headers.get("x-forwarded-host", "") or host
        return f"http{'s' if self.secure else ''}://{host}{self.prefix}/{path}"

    @property
    def secure(self) -> bool:
        """Whether browsers reach it by TLS."""
        return self.tls or self.behind_proxy


class Gate:
    """Finds out who asks. Without any accounts everybody is a viewer."""

    def __init__(self, accounts: Accounts, doors: Doors) -> None:
        self.accounts, self.doors = accounts, doors
        self.sessions = Sessions()
        self._attempts = Attempts()
        self._passed = Passed()
        self._checking = asyncio.Semaphore(_AT_ONCE)

    async def person(self, request: Request) -> Person | None:
        """Who asks; ``None`` if somebody has to log in first. Raises :class:`Refused`."""
        kind, _, secret = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            account = self.accounts.by_token(secret.strip())
            if account is None:
                raise Refused(401, "this token is not known")
            return Person(account.name, account.grant, "token")
        if kind.lower() == "basic":
            name, password = _name_and_password(secret)
            account = await self.by_password(name, password, self.doors.place(request))
            return Person(account.name, account.grant, "password")
        if kind:
            raise Refused(401, "expected Bearer or Basic")
        session = self.sessions.person(request.cookies.get(COOKIE, ""))
        return session or (None if self.accounts else ANYBODY)

    async def somebody(self, request: Request) -> Person:
        """Who asks; raises :class:`Refused` if that is nobody."""
        person = await self.person(request)
        if person is None:
            raise Refused(401, "log in first: a token or a password is needed")
        return person

    async def by_password(self, name: str, password: str, place: str) -> Account:
        """Whose name and password these are; raises :class:`Refused`."""
        credentials = f"{name}\0{password}"
        known = self._passed.get(credentials, place)
        # Who goes on working here must not tell a place that has to wait which guess was right.
        if known is not None and self._attempts.wait_there(place) == 0:
            return known
        self.check_attempts(place)
        async with self._checking:
            # Of a hundred that are sent at once those who had to wait have failed meanwhile.
            self.check_attempts(place)
            found = await asyncio.to_thread(self.accounts.by_password, name, password)
        if found is None:
            self.failed(place)
            raise Refused(401, "wrong name or password")
        self._passed.put(credentials, place, found)
        return found

    def by_token(self, token: str, place: str) -> Account:
        """Whose token this is, as it is typed into a form; raises :class:`Refused`."""
        self.check_attempts(place)
        found = self.accounts.by_token(token)
        if found is None:
            self.failed(place)
            raise Refused(401, "this token is not known")
        return found

    def check_attempts(self, place: str) -> None:
        """Raises :class:`Refused` where somebody has failed too often just now."""
        wait = self._attempts.wait(place)
        if wait > 0:
            later = {"Retry-After": str(int(wait) + 1)}
            raise Refused(429, "too many failed log-ins; try again later", later)

    def failed(self, place: str) -> None:
        """A log-in from there was none."""
        self._attempts.failed(place)

    def check_origin(self, request: Request, *, needed: bool) -> None:
        """Raises :class:`Refused` for what another site's page sends."""
        site = request.headers.get("sec-fetch-site")
        if site not in {None, "same-origin", "none"}:
            raise Refused(403, "this was sent by another site")
        origin = request.headers.get("origin")
        if origin is None:
            if needed:
                raise Refused(403, "a browser has to say which page this comes from (Origin)")
            return
        if urlsplit(origin).netloc not in self.doors.hosts(request):
            raise Refused(403, "this was sent by another site")

    def check_change(self, request: Request, person: Person) -> None:
        """Whether a change by this person was really meant; raises :class:`Refused`."""
        self.check_origin(request, needed=person.how == "session")
        if person.how == "session":
            self.check_word(person, request.headers.get(GUARD_HEADER, ""))

    def check_word(self, person: Person, given: str) -> None:
        """Whether this is the word of a session; raises :class:`Refused`."""
        if not hmac.compare_digest(given.encode(), person.guard.encode()):
            raise Refused(403, f"the word of this session is missing or wrong ({GUARD_HEADER})")


def _name_and_password(secret: str) -> tuple[str, str]:
    try:
        text = base64.b64decode(secret.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError, ValueError):
        raise Refused(401, "these credentials cannot be read") from None
    name, _, password = text.partition(":")
    return name, password
