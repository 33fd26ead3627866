"""The audit log: what was done to watched systems, by whom, as lines of JSON that only grow."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from bgtop.actions import Verb
from bgworker.values import names_of

if TYPE_CHECKING:
    from bgtop.actions import Action, Performed

OFF: Final = "off"

_LONGEST: Final = 500
"""Letters of a text in a line, so that a line is appended by one write, whole or not at all."""


class AuditError(Exception):
    """The audit log cannot be written; the message is one line for the user."""


def default_path(environ: Mapping[str, str], name: str = "audit.log") -> str:
    """``$XDG_STATE_HOME/bgtop/audit.log``, else below ``~/.local/state``."""
    home = environ.get("HOME") or os.path.expanduser("~")
    folder = environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    return os.path.join(folder, "bgtop", name)


class AuditLog:
    """A file of mode 0600 that is opened at once, so that nothing is done that cannot be told."""

    def __init__(self, path: str, *, by: str) -> None:
        """Open or create it; ``by`` says which part of bgtop acts. Raises :class:`AuditError`."""
        self._by = by
        self._user, self._host = _user(), os.uname().nodename
        try:
            self._file = open_private(path)
        except OSError as fault:
            words = (fault.strerror or "cannot be opened").lower()
            raise AuditError(f"audit log {path}: {words}; nothing is done without it") from None

    def write(
        self,
        done: Performed,
        system: str | None = None,
        asked_by: Mapping[str, str] | None = None,
    ) -> None:
        """Add a line; ``asked_by`` tells who asked, where that is somebody else than the user.

        Raises :class:`AuditError` when the disk is full or the like.
        """
        name, _, rest = done.source.partition("\0")
        self._append(
            {
                **self._who(asked_by),
                "source": name,
                "system": system or rest.partition("\0")[0] or None,
                "action": action_record(done.action),
                "outcome": "done" if done.fault is None else "refused",
                "changed": done.outcome.changed if done.outcome else None,
                "words": done.fault or (done.outcome.all_words if done.outcome else ""),
            }
        )

    def refuse(self, what: str, words: str, asked_by: Mapping[str, str] | None = None) -> None:
        """Add a line about something that was refused before it was known to be an action."""
        self._append_of_nowhere(asked_by, what, "refused", words)

    def enter(self, words: str, asked_by: Mapping[str, str]) -> None:
        """Add a line about somebody who has logged in."""
        self._append_of_nowhere(asked_by, "log in", "done", words)

    def _append_of_nowhere(
        self, asked_by: Mapping[str, str] | None, what: str, outcome: str, words: str
    ) -> None:
        nowhere = {"source": "", "system": None, "action": {"verb": _cut(what)}}
        ending = {"outcome": outcome, "changed": None, "words": words}
        self._append({**self._who(asked_by), **nowhere, **ending})

    def _who(self, asked_by: Mapping[str, str] | None) -> dict[str, Any]:
        who = {
            "time": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "user": self._user,
            "host": self._host,
            "by": self._by,
        }
        asker = {key: _cut(value) for key, value in asked_by.items()} if asked_by else {}
        return {**who, "asked_by": asker} if asker else who

    def _append(self, record: Mapping[str, Any]) -> None:
        line = json.dumps({key: _cut(value) for key, value in record.items()}) + "\n"
        try:
            os.write(self._file, line.encode())
        except OSError as fault:
            words = (fault.strerror or "cannot be written").lower()
            raise AuditError(f"the audit log cannot be written: {words}") from None

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def action_record(action: Action) -> dict[str, Any]:
    """An action as JSON: its verb, and what it is about."""
    named = {name: _cut(getattr(action, name)) for name in names_of(action)}
    if action.verb is Verb.SEND:
        named.update({name: _cut(_hidden(getattr(action, name))) for name in ("args", "kwargs")})
    return {"verb": action.verb.value, **{k: v for k, v in named.items() if v is not None}}


def _hidden(text: str) -> str:
    from bgtop.state.redaction import redaction_of  # no other action carries arguments

    redaction = redaction_of("")
    return text if redaction is None else redaction.text(text)


def _cut(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value


def open_private(path: str) -> int:
    """A descriptor that appends to a file of its owner alone; raises ``OSError``.

    Links, and anything else that is no regular file, are refused.
    """
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    file = os.open(path, flags, 0o600)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode):
        os.close(file)
        raise OSError(0, "is not a regular file")
    if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
        os.fchmod(file, 0o600)
    return file


def _user() -> str:
    """Who is logged in; by number where the number has no name."""
    import pwd

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    sudo = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {sudo})" if sudo else name
