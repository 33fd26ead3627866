"""Which grant somebody gets whom an OpenID provider vouches for: claims and rules. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bgtop.view.text import clean
from bgtop.web.credentials import Account, BadCredentials, grant_of
from bgtop.web.grants import Role
from bgworker.values import dataclass

if TYPE_CHECKING:
    from bgtop.web.grants import Grant

_LONGEST: Final = 200
_ROLES: Final = "|".join(role.value for role in Role)


@dataclass(frozen=True, slots=True)
class Rules:
    """A claim (``email``, ``groups``), and the grant for each pattern of its values.

    The first rule that fits one of the values decides.
    """

    claim: str
    grants: tuple[tuple[str, Grant], ...]

    def account(self, claims: Mapping[str, Any], issuer: str) -> Account | None:
        """Who this is, and with which grant; ``None`` for somebody no rule is about."""
        values = self._values(claims)
        for glob, grant in self.grants:
            if any(fnmatchcase(value, glob) for value in values):
                return Account(name_of(claims, issuer), "", grant)
        return None

    def _values(self, claims: Mapping[str, Any]) -> list[str]:
        """The texts of the claim; an address that was not verified may be anybody's."""
        if self.claim == "email" and claims.get("email_verified") is not True:
            return []
        said = claims.get(self.claim)
        every = said if isinstance(said, list) else [said]
        return [one for one in every if isinstance(one, str)]


def name_of(claims: Mapping[str, Any], issuer: str) -> str:
    """What somebody is called here: a proved address, or a name that ends in the provider's host.

    People choose these names: what would change how a line is read is taken out.
    """
    email = claims.get("email")
    if isinstance(email, str) and "@" in email and claims.get("email_verified") is True:
        return clean(email, _LONGEST)
    name = claims.get("preferred_username") or claims.get("sub")
    return f"{clean(str(name), _LONGEST)}@{urlsplit(issuer).hostname}"


def rules_of(claim: str, options: Iterable[str]) -> Rules:
    """``GLOB=ROLE[,source=GLOB][,queue=GLOB]…`` each; raises :class:`BadCredentials`."""
    grants: list[tuple[str, Grant]] = []
    faults: list[str] = []
    for text in options:
        # Values may have commas and equal signs, as names of a directory do.
        found = re.fullmatch(rf"(.+)=({_ROLES})((?:,(?:source|queue)=[^,]+)*)", text)
        if found is None:
            faults.append(f"--oidc-grant {text!r}: expected VALUE=ROLE[,source=GLOB][,queue=GLOB]")
            continue
        glob, role, scopes = found.groups()
        grants.append((glob, grant_of(role, scopes.split(",")[1:], "--oidc-grant")))
    if not grants and not faults:
        faults.append("--oidc-issuer needs --oidc-grant: without one nobody may enter")
    if faults:
        raise BadCredentials(*faults)
    return Rules(claim, tuple(grants))
