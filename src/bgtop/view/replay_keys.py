"""What is different where a recording is looked at: its own keys, its banner, what it cannot do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import inf
from typing import Final

from bgtop.page import Hint, Status, Tone
from bgtop.view.commands import COMMANDS, Command
from bgtop.view.text import age, bar
from bgtop.view.ui import Replay, Result, Seek, Ui
from bgworker.values import replace

SPEEDS: Final = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0)
"""How many seconds of the recording pass in one of ours: what + and - choose from."""

_BAR: Final = 20
"""Cells of the line that shows the position."""


def _command(name: str, key: str, shown: str, words: str, hint: str = "") -> Command:
    return Command(name=name, keys=(key,), shown=shown, words=words, hint=hint)


REPLAY_COMMANDS: Final = (
    _command("earlier", "left", "←", "ten seconds back"),
    _command("later", "right", "→", "ten seconds on", "10 s"),
    _command("minute earlier", "[", "[", "a minute back"),
    _command("minute later", "]", "]", "a minute on", "1 min"),
    _command("beginning", "home", "Home", "to the beginning"),
    _command("ending", "end", "End", "to the end"),
    _command("speed up", "+", "+", "play faster", "Speed"),
    _command("slow down", "-", "-", "play slower"),
)
"""Keys that mean something else than in the live view, or nothing there."""

_BY_KEY: Final = {key: command for command in REPLAY_COMMANDS for key in command.keys}
_TAKEN: Final = frozenset([command.shown for command in REPLAY_COMMANDS])
_BAR_KEYS: Final = {"later": "←→", "minute later": "[]", "speed up": "+-"}

_UNUSED: Final = frozenset({"slower", "faster", "more", "read now"})
"""Commands that are about how sources are read."""


def _seek(seconds: float) -> Callable[[Ui, Replay], Result]:
    return lambda ui, _: (ui, (Seek(seconds),))


def _pace(step: int) -> Callable[[Ui, Replay], Result]:
    def act(ui: Ui, replay: Replay) -> Result:
        further = [s for s in SPEEDS if (s > replay.speed if step > 0 else s < replay.speed)]
        if further:
            speed = further[0] if step > 0 else further[-1]
            ui = replace(ui, replay=replace(replay, speed=speed))
        return ui, ()

    return act


_ACTS: Final[Mapping[str, Callable[[Ui, Replay], Result]]] = {
    "earlier": _seek(-10),
    "later": _seek(10),
    "minute earlier": _seek(-60),
    "minute later": _seek(60),
    "beginning": _seek(-inf),
    "ending": _seek(inf),
    "speed up": _pace(1),
    "slow down": _pace(-1),
}


def pressed(ui: Ui, replay: Replay, key: str, command: Command | None) -> Result | None:
    """What a key comes to here; ``None`` if that is the same as in the live view."""
    if key in _BY_KEY:
        return _ACTS[_BY_KEY[key].name](ui, replay)
    if command is not None and command.verbs:
        words = "this is a recording: it can be looked at, and nothing can be done to it"
        return replace(ui, notice=Status("NOTE", Tone.WARN, words)), ()
    return (ui, ()) if command is not None and command.name in _UNUSED else None


def replay_help() -> Iterator[tuple[str, str]]:
    """The keys of a recording with what they do, the others as far as they mean the same."""
    for command in REPLAY_COMMANDS:
        yield command.shown, command.words
    for command in COMMANDS:
        shown = " ".join([key for key in command.shown.split() if key not in _TAKEN])
        if shown and not command.verbs and command.name not in _UNUSED:
            yield shown, command.words


def replay_hints() -> tuple[Hint, ...]:
    """The keys for the key bar."""
    return (
        Hint("p", "Pause"),
        *[Hint(_BAR_KEYS[c.name], c.hint) for c in REPLAY_COMMANDS if c.name in _BAR_KEYS],
    )


def banner_of(ui: Ui, replay: Replay) -> Status:
    """What is played: the time it was, how fast it goes, and how far it is."""
    length = (replay.end - replay.begin).total_seconds()
    passed = min(max((replay.at - replay.begin).total_seconds(), 0.0), length)
    pace = "paused, p goes on" if ui.paused else f"×{replay.speed:g}"
    if passed >= length and not ui.paused:
        pace = "the end"
    place = f"{bar(passed / length if length else 1.0, _BAR)}  {age(passed)} of {age(length)}"
    text = f"{replay.at:%Y-%m-%d %H:%M:%S %Z} {pace}  {place}"
    return Status("REPLAY", Tone.WARN, text)
