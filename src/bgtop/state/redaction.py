"""Secrets are taken out of jobs before anything else sees them.

What applications pass to tasks may be shown on a screen, written into files and sent to browsers.
Values under the keys that usually hold secrets become ``***``: in JSON by its structure, in other
texts (a repr, a line of a traceback, a truncated message) by how a key and its value are written.
A secret that is a mere positional argument cannot be told from any other text.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from bgtop.model import JobList, JobReading
from bgtop.source_url import redacted_in
from bgworker.values import dataclass, replace

HIDDEN: Final = "***"

_WORDS: Final = (
    "password passwd passphrase pwd secret api[-_]?key access[-_]?key private[-_]?key "
    "authorization cookie credential credit[-_]?card card[-_]?(?:number|nr|no) cvv cvc csrf "
    "session[-_]?(?:id|key)"
)
# Of several tokens one has usually only the number (max_tokens). Not inside a word: a secretary.
_KEY: Final = rf"(?:(?i:{'|'.join(_WORDS.split())})s?|(?i:token))(?![a-z])"

_SIGN: Final = r"""\\*["']?\s*(?::|=>?)\s*"""
_NAME: Final = r"[\w.-]{0,64}"
_QUOTE: Final = re.compile(r"""[bBrRuU]{0,2}(\\*)(["'])""")
_CLOSING: Final = {"[": "]", "{": "}", "(": ")"}
_PLAIN: Final = re.compile(r"(?i:(?:bearer|basic|token|digest)\s+)?[^\s,;&)\]}\"']*")


@dataclass(frozen=True, slots=True)
class Redaction:
    """What is a secret: ``key`` is found in the names of such arguments."""

    key: re.Pattern[str]
    pair: re.Pattern[str]

    def text(self, text: str) -> str:
        """The text of an argument, a result or an error without the secrets in it."""
        if not self.key.search(text) and "://" not in text:
            return text  # nearly all texts end here
        if text[:1] in {"[", "{", '"'}:
            # What is nested too deeply for us is read like a text that is no JSON.
            with suppress(ValueError, RecursionError):
                whole = json.loads(text)
                hidden = self.value(whole)
                return text if hidden == whole else json.dumps(hidden, ensure_ascii=False)
        return redacted_in(self._pairs(text))

    def value(self, value: Any) -> Any:
        """The same of what JSON can hold, all texts in it included."""
        if isinstance(value, dict):
            return {
                key: HIDDEN if self.key.search(key) and part is not None else self.value(part)
                for key, part in value.items()
            }
        if isinstance(value, list):
            return [self.value(part) for part in value]
        return self.text(value) if isinstance(value, str) else value

    def _pairs(self, text: str) -> str:
        kept: list[str] = []
        at = 0
        while (found := self.pair.search(text, at)) is not None:
            kept += [text[at : found.end()], HIDDEN]
            at = max(_end_of_value(text, found.end()), found.end())
        return "".join([*kept, text[at:]])

    def job(self, job: JobReading) -> JobReading:
        """The job without secrets."""

        def hide(text: str | None) -> str | None:
            return None if text is None else self.text(text)

        return replace(
            job,
            args=hide(job.args),
            kwargs=hide(job.kwargs),
            result=hide(job.result),
            error=hide(job.error),
            traceback=hide(job.traceback),
            facts=tuple(
                (name, HIDDEN if self.key.search(name) else self.text(text))
                for name, text in job.facts
            ),
        )

    def jobs(self, jobs: JobList) -> JobList:
        """All of them."""
        return replace(jobs, rows=tuple(self.job(job) for job in jobs.rows))


def _end_of_value(text: str, at: int) -> int:
    """Where the value that begins here ends; of one that is cut off, the end of the text."""
    quote = _QUOTE.match(text, at)
    if quote is not None and quote[1]:
        # A text within a text: its quotes are escaped, and so is the one that ends it.
        ending = re.compile(rf"(?<!\\){re.escape(quote[1] + quote[2])}")
        end = ending.search(text, quote.end())
        return len(text) if end is None else end.end()
    if quote is not None:
        return _end_of_string(text, quote.start(2))
    if text[at : at + 1] not in _CLOSING:
        found = _PLAIN.match(text, at)
        return found.end() if found else at
    depth = 0
    while at < len(text):
        if text[at] in "\"'":
            at = _end_of_string(text, at)
            continue
        depth += (text[at] in _CLOSING) - (text[at] in _CLOSING.values())
        at += 1
        if depth == 0:
            return at
    return at


def _end_of_string(text: str, at: int) -> int:
    quote = text[at]
    at += 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" else 1
    return min(at + 1, len(text))


@lru_cache(maxsize=8)
def redaction_of(text: str) -> Redaction | None:
    """The redaction a setting describes: more patterns for names of secrets, or ``off``.

    Raises ``ValueError`` with words that follow the name of the setting.
    """
    if text.strip().lower() == "off":
        return None
    patterns = [_KEY]
    for word in text.split():
        try:
            patterns.append(f"(?i:{re.compile(word).pattern})")
        except (re.error, RecursionError, OverflowError) as fault:
            raise ValueError(f"{word!r} is not a pattern: {fault}") from None
    key = "|".join(patterns)
    return Redaction(re.compile(key), re.compile(rf"(?:{key}){_NAME}{_SIGN}"))
