"""Which grant somebody gets whom a provider vouches for: claims and rules. Pure."""

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

GITHUB_CLAIMS: Final[Mapping[str, str | None]] = {
    "login": None,
    "id": None,
    "email": "user:email",
    "org": "read:org",
}
"""What people may be known by at GitHub, and what has to be asked for to be told it.

Nothing else: a name, a company and the address in a profile are what people say of themselves.
"""


@dataclass(frozen=True, slots=True)
class Rules:
    """A claim (``email``, ``groups``), and the grant for each pattern of its values.

    The first rule that fits one of the values decides. ``exact``: a value fits that is the same.
    """

    claim: str
    grants: tuple[tuple[str, Grant], ...]
    exact: bool = False

    def account(self, claims: Mapping[str, Any], issuer: str) -> Account | None:
        """Who this is, and with which grant; ``None`` for somebody no rule is about."""
        values = self._values(claims)
        fits = str.__eq__ if self.exact else fnmatchcase
        for wanted, grant in self.grants:
            if any(fits(value, wanted) for value in values):
                return Account(name_of(claims, issuer), "", grant)
        return None

    def _values(self, claims: Mapping[str, Any]) -> list[str]:
        """The texts and numbers of the claim; an address that was not verified may be anybody's."""
        if self.claim == "email" and claims.get("email_verified") is not True:
            return []
        said = claims.get(self.claim)
        every = said if isinstance(said, list) else [said]
        return [str(one) for one in every if type(one) in {str, int}]


def name_of(claims: Mapping[str, Any], issuer: str) -> str:
    """What somebody is called here: a proved address, or a name that ends in the provider's host.

    People choose these names: what would change how a line is read is taken out.
    """
    email = claims.get("email")
    if isinstance(email, str) and "@" in email and claims.get("email_verified") is True:
        return clean(email, _LONGEST)
    name = claims.get("preferred_username") or claims.get("sub")
    return f"{clean(str(name), _LONGEST)}@{urlsplit(issuer).hostname}"


def rules_of(way: str, claim: str, options: Iterable[str]) -> Rules:
    """``VALUE=ROLE[,source=GLOB][,queue=GLOB]…`` each; raises :class:`BadCredentials`.

    With ``oidc`` a value is a pattern; with ``oauth`` it is what the provider writes, letter by
    letter, and what looks like a pattern would let nobody in.
    """
    option, exact = f"--{way}-grant", way == "oauth"
    grants: list[tuple[str, Grant]] = []
    faults: list[str] = []
    for text in options:
        # Values may have commas and equal signs, as names of a directory do.
        found = re.fullmatch(rf"(.+)=({_ROLES})((?:,(?:source|queue)=[^,]+)*)", text)
        if found is None:
            faults.append(f"{option} {text!r}: expected VALUE=ROLE[,source=GLOB][,queue=GLOB]")
            continue
        value, role, scopes = found.groups()
        if exact and "*" in value:
            faults.append(f"{option} {text!r}: expected the whole {claim}, not a pattern")
        grants.append((value, grant_of(role, scopes.split(",")[1:], option)))
    if not grants and not faults:
        faults.append(f"{option}: missing, and without one nobody may enter")
    if faults:
        raise BadCredentials(*faults)
    return Rules(claim, tuple(grants), exact)
