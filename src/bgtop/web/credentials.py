"""Names with secrets: read from options and a file, kept as hashes only, compared in fixed time.

A line of the file is ``NAME ROLE HASH [source=GLOB]… [queue=GLOB]…``. Tokens are long and random,
so one round of SHA-256 is enough for them; passwords are chosen by people and go through scrypt.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable, Sequence
from typing import Final

from bgtop.web.grants import EVERYTHING, Grant, Role
from bgworker.values import dataclass, replace

_COST: Final = (2**14, 8, 1)
"""Of scrypt: 16 MiB and some 50 ms for each try."""

_TOKEN_BYTES: Final = 32
_LONGEST_SECRET: Final = 1024


class BadCredentials(Exception):
    """What was given is no credential; each line says what is wrong, never the secret itself."""

    def __init__(self, *faults: str) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in; ``hash``: ``sha256$…`` of a token or ``scrypt$…`` of a password.

    It is empty for somebody whom another server vouches for.
    """

    name: str
    hash: str
    grant: Grant

    @property
    def by_token(self) -> bool:
        """Whether the secret is a token, which names its owner by itself."""
        return self.hash.startswith("sha256$")


def new_token() -> str:
    """A secret nobody can guess."""
    return f"bgt_{secrets.token_urlsafe(_TOKEN_BYTES)}"


def hash_of_token(token: str) -> str:
    """How a token is kept."""
    return f"sha256${hashlib.sha256(token.encode()).hexdigest()}"


def hash_of_password(password: str, salt: bytes | None = None) -> str:
    """How a password is kept."""
    salt = os.urandom(16) if salt is None else salt
    cost, block, lanes = _COST
    made = hashlib.scrypt(
        password.encode(), salt=salt, n=cost, r=block, p=lanes, maxmem=64 * 2**20, dklen=32
    )
    return f"scrypt${salt.hex()}${made.hex()}"


def is_password(password: str, kept: str) -> bool:
    """Whether this is the password of a hash; takes as long whether it is or not."""
    _, salt, _ = kept.split("$")
    tried = hash_of_password(password[:_LONGEST_SECRET], bytes.fromhex(salt))
    return hmac.compare_digest(tried, kept)


class Accounts:
    """Everybody who may log in; ``elsewhere``: others too, whom another server vouches for."""

    def __init__(self, accounts: Iterable[Account] = (), *, elsewhere: bool = False) -> None:
        everybody = list(accounts)
        self._elsewhere = elsewhere
        self._tokens = [account for account in everybody if account.by_token]
        self._people = {account.name: account for account in everybody if not account.by_token}
        self._nobody = hash_of_password(secrets.token_hex())

    def __bool__(self) -> bool:
        return bool(self._tokens or self._people or self._elsewhere)

    @property
    def have_passwords(self) -> bool:
        """Whether anybody logs in with a name and a password."""
        return bool(self._people)

    @property
    def have_tokens(self) -> bool:
        """Whether anybody logs in with a token."""
        return bool(self._tokens)

    def by_token(self, token: str) -> Account | None:
        """Whose token this is; all are compared, whichever it is."""
        tried = hash_of_token(token[:_LONGEST_SECRET])
        found = None
        for account in self._tokens:
            if hmac.compare_digest(tried, account.hash):
                found = account
        return found

    def by_password(self, name: str, password: str) -> Account | None:
        """Whose name and password these are; for an unknown name it takes as long. Slow."""
        account = self._people.get(name)
        kept = account.hash if account else self._nobody
        return account if is_password(password, kept) and account else None


def account_of_option(text: str) -> Account:
    """``USER:PASSWORD`` as on the command line; a password that is a hash is taken as one.

    Its role is administrator. Raises :class:`BadCredentials`.
    """
    name, colon, password = text.partition(":")
    if not (name and colon and password):
        raise BadCredentials("--basic-auth: expected USER:PASSWORD")
    if name != name.strip() or not name.isprintable():
        raise BadCredentials("--basic-auth: the name has letters it may not have")
    kept = password if _is_hash(password) else hash_of_password(password)
    return Account(name, kept, Grant(Role.ADMIN))


def with_grants(accounts: Sequence[Account], options: Iterable[str]) -> list[Account]:
    """The accounts after ``USER=ROLE[,source=GLOB][,queue=GLOB]…``; raises BadCredentials."""
    found = {account.name: account for account in accounts}
    for text in options:
        name, _, words = text.partition("=")
        if name not in found:
            raise BadCredentials(f"--grant: no --basic-auth has the name {name!r}")
        role, *scopes = words.split(",")
        grant = grant_of(role, scopes, f"--grant {name}")
        found[name] = replace(found[name], grant=grant)
    return list(found.values())


def read_file(path: str) -> list[Account]:
    """The accounts of a file only its owner may read; raises :class:`BadCredentials`."""
    accounts: list[Account] = []
    faults: list[str] = []
    for number, line in enumerate(read_private(path, "--token-file").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            accounts.append(_of_line(words, f"{path}:{number}"))
        except BadCredentials as fault:
            faults += fault.faults
    if faults:
        raise BadCredentials(*faults)
    return accounts


def read_private(path: str, option: str) -> str:
    """The text of a file only its owner may read; raises :class:`BadCredentials`."""
    try:
        with open(path, encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            text = file.read(1 << 20)
    except (OSError, UnicodeDecodeError) as fault:
        words = getattr(fault, "strerror", None) or "is not text"
        raise BadCredentials(f"{option} {path}: {words.lower()}") from None
    if not stat.S_ISREG(found.st_mode):
        raise BadCredentials(f"{option} {path}: is not a regular file")
    if is_too_open(found.st_mode, owner=found.st_uid, user=os.geteuid()):
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise BadCredentials(f"{option} {path}: others may read it (mode {mode}); chmod 600")
    return text


def is_too_open(mode: int, *, owner: int, user: int) -> bool:
    """Whether others than this user may read or write a file with secrets.

    Kubernetes mounts secrets as root's, readable for the group of the container (``fsGroup``):
    that is no more than root has decided.
    """
    groups_of_root = stat.S_IRGRP if owner == 0 != user else 0
    return bool(mode & 0o077 & ~groups_of_root)


def add_token(path: str, owner: str) -> str:
    """Add a token for ``NAME[=ROLE[,source=GLOB]…]`` to a file, made if need be; the token.

    Raises :class:`BadCredentials`.
    """
    name, _, words = owner.partition("=")
    role, *scopes = (words or Role.VIEWER.value).split(",")
    if not name or not name.isprintable() or " " in name or name.startswith("#"):
        raise BadCredentials("--add-token: expected NAME or NAME=ROLE")
    grant_of(role, scopes, "--add-token")
    if os.path.exists(path):
        read_file(path)
    token = new_token()
    line = " ".join([name, role, hash_of_token(token), *scopes])
    try:
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            os.write(file, f"{line}\n".encode())
        finally:
            os.close(file)
    except OSError as fault:
        raise BadCredentials(f"{path}: {(fault.strerror or 'cannot be written').lower()}") from None
    return token


def _of_line(words: Sequence[str], where: str) -> Account:
    if len(words) < 3 or not _is_hash(words[2]):
        raise BadCredentials(
            f"{where}: expected NAME ROLE sha256$… or scrypt$…, never a plain secret"
        )
    return Account(words[0], words[2], grant_of(words[1], words[3:], where))


def grant_of(role: str, scopes: Iterable[str], where: str) -> Grant:
    """A role and its ``source=GLOB`` and ``queue=GLOB``; raises :class:`BadCredentials`."""
    if role not in {known.value for known in Role}:
        raise BadCredentials(f"{where}: {role!r} is no role (viewer, operator, admin)")
    chosen: dict[str, list[str]] = {"source": [], "queue": []}
    for scope in scopes:
        what, _, glob = scope.partition("=")
        if what not in chosen or not glob:
            raise BadCredentials(f"{where}: {scope!r} is not source=GLOB or queue=GLOB")
        chosen[what].append(glob)
    return Grant(
        Role(role), tuple(chosen["source"]) or EVERYTHING, tuple(chosen["queue"]) or EVERYTHING
    )


def _is_hash(text: str) -> bool:
    kind, *parts = text.split("$")
    sizes = {"sha256": [64], "scrypt": [32, 64]}.get(kind)
    return sizes == [len(p) for p in parts] and all(
        set(p) <= set("0123456789abcdef") for p in parts
    )
