"""Around the whole application: limits, the headers every answer has, and faults nobody sees.

Nothing in here knows who asks. What is refused here never reaches a page.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

LARGEST_BODY: Final = 64 * 1024
BODY_SECONDS: Final = 10.0
"""How long the body of a request may take to arrive."""

SEND_SECONDS: Final = 30.0
"""How long a client may take to read what it asked for, before the next part of it."""

_MOST_HEADERS: Final = 100
_LARGEST_HEADERS: Final = 16 * 1024
_LONGEST_PATH: Final = 8192
_NO_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS"})

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # With no referrer at all browsers would send "Origin: null" with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Guard:
    """An ASGI application before another. ``hosts``: the only names it may be called by, or all.

    A page of somebody else whose name suddenly means our address would otherwise be read by its
    scripts. ``report`` is told of faults and refusals.
    """

    def __init__(
        self, app: App, *, hosts: Iterable[str] | None, report: Callable[[str], None]
    ) -> None:
        self._app, self._report = app, report
        self._hosts = None if hosts is None else frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": _with_ours(message.get("headers", ()))}
            await asyncio.wait_for(send(message), SEND_SECONDS)

        refused = self._refused(scope)
        if refused is None:
            body, refused = await _body_of(scope, receive)
        if refused is not None:
            self._report(f"refused {scope['method']} from {_place(scope)}: {refused[1]}")
            await _say(answer, *refused, path=scope["path"], close=True)
            return
        try:
            await self._app(scope, _replayed(body, receive), answer)
        except (asyncio.TimeoutError, ConnectionError):
            if not started:
                await _say(answer, 503, "the answer took too long", path=scope["path"], close=True)
        except Exception:  # noqa: BLE001 - whatever it is, the next request must be answered
            from traceback import format_exc

            self._report(format_exc())
            if not started:
                await _say(
                    answer, 500, "something went wrong here; the log of the server says more"
                )

    def _refused(self, scope: Scope) -> tuple[int, str] | None:
        headers = scope["headers"]
        size = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > _MOST_HEADERS or size > _LARGEST_HEADERS:
            return 431, "too many headers"
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > _LONGEST_PATH:
            return 400, "the address is too long"
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1:
            return 400, "expected one Host header"
        if self._hosts is not None and _name_of(hosts[0]) not in self._hosts:
            return 421, "this server is not called that; --behind-proxy allows any name"
        return None


async def _body_of(scope: Scope, receive: Receive) -> tuple[bytes, tuple[int, str] | None]:
    """The whole body, if it is small and comes soon."""
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    chunked = any(name == b"transfer-encoding" for name, _ in scope["headers"])
    if lengths and (not lengths[0].isdigit() or int(lengths[0][:20]) > LARGEST_BODY):
        return b"", (413, f"the body is larger than {LARGEST_BODY} bytes")
    if scope["method"] in _NO_BODY:
        has_body = chunked or (lengths and int(lengths[0]) > 0)
        return b"", (400, "a body is not expected here") if has_body else None
    try:
        return await asyncio.wait_for(_read(receive), BODY_SECONDS)
    except asyncio.TimeoutError:
        return b"", (408, "the body did not arrive in time")


async def _read(receive: Receive) -> tuple[bytes, tuple[int, str] | None]:
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"", (400, "the client has gone")
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return b"", (413, f"the body is larger than {LARGEST_BODY} bytes")
        if not message.get("more_body", False):
            return body, None


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What the application reads: the body at once, then whatever follows it."""
    told = False

    async def read() -> Message:
        nonlocal told
        if not told:
            told = True
            return {"type": "http.request", "body": body, "more_body": False}
        return await receive()

    return read


async def _say(send: Send, status: int, words: str, *, path: str = "", close: bool = False) -> None:
    kind, body = b"text/plain; charset=utf-8", f"{words}\n".encode()
    if "/api/v1/" in path:
        kind, body = b"application/problem+json", problem_of(status, words)
    headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
    if close:
        headers.append((b"connection", b"close"))
    try:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
    except (asyncio.TimeoutError, ConnectionError, RuntimeError):
        return  # nobody is there to be told


def problem_of(status: int, words: str) -> bytes:
    """An error for programs, as RFC 9457 has it."""
    import json
    from http import HTTPStatus

    title = HTTPStatus(status).phrase
    said = {"type": "about:blank", "title": title, "status": status, "detail": words}
    return json.dumps(said).encode()


def _with_ours(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    given = list(headers)
    names = {name.lower() for name, _ in given}
    ours = {**HEADERS, "cache-control": "no-store"}
    return given + [(k.encode(), v.encode()) for k, v in ours.items() if k.encode() not in names]


def _name_of(host: bytes) -> str:
    """The name in a Host header, without its port."""
    text = host.decode("latin-1").lower()
    name, _, port = text.rpartition(":")
    return name if name and port.isdigit() else text


def _place(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "a local socket"
