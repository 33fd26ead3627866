"""``[keys]`` and ``[alerts]``: what they mean, and all their faults at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgtop.config import Arguments, Config, ConfigError, load_config
from bgtop.state.thresholds import Limit, Measure


def load(tmp_path: Path, text: str) -> Config:
    (tmp_path / ".bgtoprc").write_text(text)
    return load_config(Arguments(sources=["redis://h"]), {"HOME": str(tmp_path)})


def test_keys(tmp_path: Path) -> None:
    config = load(tmp_path, "[keys]\nquit = x\npage_down = space f1\nnone = P =\n")

    assert config.keys == {"x": "q", " ": "pgdn", "f1": "pgdn", "P": "", "=": ""}


def test_alerts(tmp_path: Path) -> None:
    rules = load(
        tmp_path,
        "[alerts]\ndepth = 1000 Mail=50\nage = 60\nfailures = 5%\nno_consumer = yes\n"
        "worker_gone = on\nbell = no\ncommand = notify-send 'bgtop alert'\nrepeat = 60\n",
    ).alerts

    assert rules is not None
    assert rules.limits == (
        Limit(measure=Measure.DEPTH, value=1000),
        Limit(measure=Measure.DEPTH, value=50, queue="Mail"),
        Limit(measure=Measure.AGE, value=60),
        Limit(measure=Measure.CONSUMERS),
    )
    assert (rules.failures, rules.worker_gone, rules.bell, rules.repeat) == (0.05, True, False, 60)
    assert rules.command == ("notify-send", "bgtop alert")


def test_sections_without_a_rule_change_nothing(tmp_path: Path) -> None:
    config = load(tmp_path, "[alerts]\nbell = no\n[keys]\n[colors]\n")

    assert (config.alerts, config.keys, config.look.colors) == (None, {}, ())


def test_all_faults_are_told_with_their_lines(tmp_path: Path) -> None:
    text = (
        "[colors]\nred = bad\n\n\n"
        "[keys]\nfly = x\nquit = hyper-x\njump = z\nup = a\ndown = a\n"
        "[alerts]\ndepth = many\nage =\nfailures = 200%\nnoise = 1\ncommand = 'open\n"
        "[DEFAULT]\nmax_queues = x\n"
    )

    with pytest.raises(ConfigError) as raised:
        load(tmp_path, text)

    faults = [fault.partition(".bgtoprc, line ")[2] for fault in raised.value.faults]
    starts = [
        "2: red: ",
        "6: fly: unknown command; known: again, back",
        "7: quit: 'hyper-x' is no key",
        "8: jump: unknown command",
        "10: down: 'a' is the key of another command already",
        "12: depth: 'many' is not a number",
        "13: age: is empty",
        "14: failures: '200%' is not a share",
        "15: noise: unknown key; known: depth, age, failures",
        "16: command: cannot be split into words: no closing quotation",
        "18: max_queues: 'x' is not",
    ]
    assert len(faults) == len(starts)
    assert [f for f, start in zip(faults, starts, strict=True) if not f.startswith(start)] == []


@pytest.mark.parametrize("section", ["colors", "keys", "alerts"])
def test_a_setting_in_the_wrong_section_is_told_where_it_belongs(
    tmp_path: Path, section: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, f"[{section}]\ntheme = light\n")

    [fault] = raised.value.faults
    assert fault.endswith(
        "line 2: theme: is no key of this section; it belongs in [DEFAULT] or a profile"
    )


def test_a_section_is_no_profile(tmp_path: Path) -> None:
    (tmp_path / ".bgtoprc").write_text("[alerts]\ndepth = 1\n[mine]\nurl = redis://h\n")

    with pytest.raises(ConfigError, match=r"'alerts' is neither a URL, nor .*\(known: mine\)"):
        load_config(Arguments(sources=["alerts"]), {"HOME": str(tmp_path)})
