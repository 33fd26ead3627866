"""Log-in and log-out: by name and password, by token, or by a provider."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from bgtop.web.auth import COOKIE, Refused
from bgtop.web.grants import Person
from bgtop.web.pages import fault, html, rendered
from bgtop.web.sessions import LONGEST

if TYPE_CHECKING:
    from starlette.requests import Request

    from bgtop.web.credentials import Account
    from bgtop.web.log_ins import LogIns
    from bgtop.web.pages import Answer
    from bgtop.web.site import Site

_TRIP: Final = "bgtop_trip"
"""The cookie of a log-in that is under way at a provider."""


def routes(site: Site, log_ins: LogIns | None) -> list[Route]:
    """All of them; those of a provider only where there is one."""
    found = [
        Route("/login", login_form(site, log_ins), methods=["GET"]),
        Route("/login", login(site, log_ins), methods=["POST"]),
        Route("/logout", logout(site), methods=["POST"]),
    ]
    if log_ins is not None:
        out = f"/login/{log_ins.provider.way}"
        found.append(Route(out, set_out(site, log_ins), methods=["GET"]))
        found.append(Route(f"{out}/back", come_back(site, log_ins), methods=["GET"]))
    return found


def login_form(site: Site, log_ins: LogIns | None) -> Answer:
    """Where one logs in."""

    async def answer(request: Request) -> Response:
        if not site.gate.accounts:
            return RedirectResponse(site.address(""), 303)
        return _form(site, request, log_ins, request.query_params.get("next", ""))

    return answer


def _form(
    site: Site, request: Request, log_ins: LogIns | None, after: str, refused: Refused | None = None
) -> Response:
    accounts = site.gate.accounts
    text = rendered(
        site,
        request,
        "login.html",
        None,
        next=after,
        fault=refused.words if refused else "",
        passwords=accounts.have_passwords,
        tokens=accounts.have_tokens,
        provider=urlsplit(log_ins.provider.name).hostname if log_ins else "",
        way=log_ins.provider.way if log_ins else "",
    )
    said = html(text, refused.status if refused else 200)
    said.headers.update(refused.headers if refused else {})
    return said


def login(site: Site, log_ins: LogIns | None) -> Answer:
    """A log-in: a session that did not exist before, in a cookie only our pages send."""

    async def answer(request: Request) -> Response:
        form = await _form_of(request)
        after = form.get("next", "")
        try:
            site.gate.check_origin(request, needed=True)
            place = site.gate.doors.place(request)
            how = "token" if "token" in form else "password"
            if how == "token":
                account = site.gate.by_token(form["token"], place)
            else:
                name, password = form.get("name", ""), form.get("password", "")
                account = await site.gate.by_password(name, password, place)
        except Refused as refused:
            site.note_refusal(request, None, refused.words)
            return _form(site, request, log_ins, after, refused)
        site.note_entry(request, Person(account.name, account.grant, how))
        response = RedirectResponse(_goal(site, after), 303)
        _begin(site, request, response, account)
        return response

    return answer


def logout(site: Site) -> Answer:
    """The end of a session."""

    async def answer(request: Request) -> Response:
        form = await _form_of(request)
        try:
            person = await site.gate.person(request)
            if person is not None and person.how == "session":
                site.gate.check_origin(request, needed=True)
                site.gate.check_word(person, form.get("guard", ""))
        except Refused as refused:
            site.note_refusal(request, None, refused.words)
            return fault(site, request, refused.status, refused.words)
        site.gate.sessions.end(request.cookies.get(COOKIE, ""))
        response = RedirectResponse(site.address("login"), 303)
        _set_cookie(site, response, "", 0)
        return response

    return answer


def set_out(site: Site, log_ins: LogIns) -> Answer:
    """To the provider, with a cookie by which the browser is known when it comes back."""

    async def answer(request: Request) -> Response:
        back = site.gate.doors.address(request, f"login/{log_ins.provider.way}/back")
        after = request.query_params.get("next", "")
        try:
            place = site.gate.doors.place(request)
            site.gate.check_attempts(place)
            async with log_ins.turns:
                setting = await asyncio.to_thread(log_ins.begin, back, after, place)
        except Refused as refused:
            site.note_refusal(request, None, refused.words)
            return _form(site, request, log_ins, after, refused)
        response = RedirectResponse(setting.address, 303)
        _set_trip(site, response, setting.cookie)
        return response

    return answer


def come_back(site: Site, log_ins: LogIns) -> Answer:
    """From the provider: a session, if it vouches for somebody who may enter."""

    async def answer(request: Request) -> Response:
        place = site.gate.doors.place(request)
        cookie, said = request.cookies.get(_TRIP, ""), dict(request.query_params)
        try:
            # Nobody guesses a state: what is none costs a look and counts against no place. Who
            # has one was let set out, and that others failed meanwhile does not keep them out.
            trip = log_ins.take(cookie, said)
            try:
                async with log_ins.turns:
                    account, after = await asyncio.to_thread(log_ins.finish, trip, said)
            except Refused as refused:
                if refused.status == 403:
                    site.gate.failed(place)
                raise
        except Refused as refused:
            site.note_refusal(request, None, refused.words)
            return _form(site, request, log_ins, "", refused)
        vouched = f"vouched for by {log_ins.provider.name}"
        site.note_entry(request, Person(account.name, account.grant, "provider"), vouched)
        # A strict cookie is not sent where another site's page has led: a page of ours goes on.
        to = _goal(site, after)
        response = html(rendered(site, request, "entered.html", None, to=to, name=account.name))
        _begin(site, request, response, account)
        _set_trip(site, response, "")
        return response

    return answer


def _begin(site: Site, request: Request, response: Response, account: Account) -> None:
    """A session that did not exist before, in place of the browser's last."""
    site.gate.sessions.end(request.cookies.get(COOKIE, ""))
    _set_cookie(site, response, site.gate.sessions.begin(account), int(LONGEST))


def _goal(site: Site, after: str) -> str:
    """Where somebody goes who has logged in."""
    return after if _is_ours(after, site.address("")) else site.address("")


def _set_trip(site: Site, response: Response, value: str) -> None:
    # Lax: the provider's page leads back here, and the cookie has to come along.
    response.set_cookie(
        _TRIP,
        value,
        max_age=600 if value else 0,
        path=site.address("login"),
        secure=site.gate.doors.secure,
        httponly=True,
        samesite="lax",
    )


def _set_cookie(site: Site, response: Response, value: str, seconds: int) -> None:
    response.set_cookie(
        COOKIE,
        value,
        max_age=seconds,
        path=site.address(""),
        secure=site.gate.doors.secure,
        httponly=True,
        samesite="strict",
    )


async def _form_of(request: Request) -> dict[str, str]:
    body = (await request.body()).decode("utf-8", "replace")
    try:
        fields = parse_qs(body, max_num_fields=20, keep_blank_values=True)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items()}


def _is_ours(path: str, root: str) -> bool:
    """Whether an address leads to this server, whatever a browser makes of it."""
    harmless = path.isprintable() and path.isascii() and "\\" not in path
    return harmless and path.startswith(root) and not path.startswith("//")
