"""Thousands of keys and sizes in no order: the screen goes on, and gives its terminal back."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from scripted_source import Script
from terminal import KEYS, Terminal

from bgtop.testing import HOSTILE_NAMES
from bgtop.view.commands import COMMANDS

OpenTerminal = Callable[..., Terminal]

_NAMES = {"pgup": "pgup", "pgdn": "pgdn"}


def _bytes_of(key: str) -> str:
    return KEYS.get(_NAMES.get(key, key), key)


# All keys of the help but those that leave, and what is typed into filters and prompts.
STORM = [
    *(_bytes_of(key) for command in COMMANDS if command.name != "quit" for key in command.keys),
    *(KEYS[key] for key in ("enter", "esc", "tab", "backspace", "ctrl-l", "ctrl-u")),
    *"ynabtx!()[]\\*.:<>=9",
    *(
        "state:failed ",
        "depth>1 ",
        "\x1b[M !!",
        "\x1b[<0;5;5M",
        "\x1b[99~",
        "\x1bOz",
        "\x00",
        "\xff",
    ),
]
JOBS = [
    {"id": f"{name}-{state}", "name": name, "queue": "mail", "state": state, "ended": 5}
    for name in HOSTILE_NAMES[:4]
    for state in ("waiting", "running", "failed", "dead")
]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_keys_and_sizes(seed: int, open_terminal: OpenTerminal, script: Script) -> None:
    script.queues(
        *["mail", *HOSTILE_NAMES[:8]],
        workers=[{"name": f"w{n}", "beat": 1, "queues": ["mail"]} for n in range(3)],
        jobs=JOBS,
        types=[{"name": "a", "succeeded": 1, "failed": 2, "exceptions": {"E": 2}}],
        beat=[{"name": "n", "rule": "* * * * *", "next": 9}],
    )
    terminal = open_terminal(script.url, "--interval", "0.2", columns=100, rows=30)
    terminal.wait_for("mail")
    dice = random.Random(seed)
    for number in range(2500):
        terminal.press(dice.choice(STORM))
        if number % 25 == 0:
            terminal.resize(dice.randint(10, 160), dice.randint(3, 60))
        if number % 10 == 0:
            terminal.read(0.002)
        assert terminal.process.poll() is None, terminal.text

    terminal.resize(100, 30)
    # Whatever is open is closed: a question or help, then a prompt, then the page.
    terminal.press("esc", "esc", "esc", "1", "U")
    terminal.wait_for("[1 Overview]", "Help", seconds=30)
    terminal.press("q")
    assert terminal.end() == 0
    assert terminal.settings() == terminal.settings_before
