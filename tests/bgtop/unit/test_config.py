"""Settings: where they come from, which one counts, and everything that can be wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgtop.config import Arguments, Config, ConfigError, load_config
from bgtop.registry import name_fault, scheme_fault

FILE = """
# the usual place
[DEFAULT]
redis_host = cache.example.org
redis_password = s%cr#t=x
refresh_interval: 2
max_queues = 40

[staging]
url = redis://staging:6379/1
backend = celery
refresh_interval = 1

[jobs]
url = sqlite:///jobs.db
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the files of whoever runs it."""
    monkeypatch.chdir(tmp_path)


def load(
    tmp_path: Path,
    *sources: str,
    file: str | None = FILE,
    environ: dict[str, str] | None = None,
    profile: str | None = None,
    **options: str,
) -> Config:
    if file is not None:
        (tmp_path / ".bgtoprc").write_text(file)
    arguments = Arguments(sources=sources, options=options, profile=profile)
    home = {"HOME": str(tmp_path), **(environ or {})}
    return load_config(arguments, home, scheme_fault=scheme_fault, name_fault=name_fault)


def faults(tmp_path: Path, *sources: str, **more: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, *sources, **more)  # type: ignore[arg-type]
    return [fault.replace(f"{tmp_path}/", "") for fault in raised.value.faults]


def test_defaults(tmp_path: Path) -> None:
    config = load(tmp_path, "redis://h/0", file=None)

    assert [(spec.name, spec.url, spec.backend) for spec in config.sources] == [
        ("h/0", "redis://h/0", None)
    ]
    assert (config.refresh_interval, config.dead_after, config.max_queues) == (5.0, 30.0, None)
    assert config.settings.dead_after == 30.0


def test_without_a_source_the_default_section_says_what_to_watch(tmp_path: Path) -> None:
    config = load(tmp_path)

    [spec] = config.sources
    assert spec.url == "redis://:s%25cr%23t%3Dx@cache.example.org:6379/0"
    assert spec.name == "cache.example.org:6379/0"
    assert (config.refresh_interval, config.max_queues) == (2.0, 40)


def test_a_profile_is_a_source_and_overrides_the_default_section(tmp_path: Path) -> None:
    for config in (load(tmp_path, "staging"), load(tmp_path, profile="staging")):
        [spec] = config.sources
        assert (spec.name, spec.url, spec.backend) == (
            "staging",
            "redis://staging:6379/1",
            "celery",
        )
        assert (config.refresh_interval, config.max_queues) == (1.0, 40)


def test_precedence(tmp_path: Path) -> None:
    environ = {"BGTOP_REFRESH_INTERVAL": "7", "BGTOP_DEAD_AFTER": "60"}

    assert load(tmp_path, "staging").refresh_interval == 1.0
    assert load(tmp_path, "staging", environ=environ).refresh_interval == 7.0
    config = load(tmp_path, "staging", environ=environ, refresh_interval="9")
    assert (config.refresh_interval, config.dead_after) == (9.0, 60.0)


def test_the_environment_can_name_the_source(tmp_path: Path) -> None:
    environ = {"BGTOP_URL": "redis://env/0", "BGTOP_PROFILE": "staging"}

    assert [spec.url for spec in load(tmp_path, environ=environ).sources] == ["redis://env/0"]


def test_secrets_may_be_in_files_of_their_own(tmp_path: Path) -> None:
    """As a container has them: one mounted file with one value, and often a newline."""
    url, password = tmp_path / "url", tmp_path / "password"
    url.write_text("redis://mounted/0\n")
    password.write_text("x\n")

    [spec] = load(tmp_path, file="", environ={"BGTOP_URL_FILE": str(url)}).sources
    assert spec.url == "redis://mounted/0"
    environ = {"BGTOP_REDIS_HOST": "h", "BGTOP_REDIS_PASSWORD_FILE": str(password)}
    [spec] = load(tmp_path, file="", environ=environ).sources
    assert spec.url == "redis://:x@h:6379/0"


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        (None, {}, "{path}: no such file or directory"),
        ("", {}, "BGTOP_URL_FILE: is empty"),
        ("redis://h/0", {"BGTOP_URL": "redis://i/0"}, "BGTOP_URL and BGTOP_URL_FILE are both set"),
    ],
)
def test_a_secret_that_cannot_be_told_is_refused(
    tmp_path: Path, text: str | None, more: dict[str, str], words: str
) -> None:
    path = tmp_path / "url"
    if text is not None:
        path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, environ={"BGTOP_URL_FILE": str(path), **more})

    assert words.format(path=path) in str(caught.value)


def test_the_environment_adds_a_login_to_a_named_profile_but_no_other_place(tmp_path: Path) -> None:
    file = "[p]\nredis_host = h\n"
    environ = {"BGTOP_REDIS_HOST": "other", "BGTOP_REDIS_PASSWORD": "x"}

    [spec] = load(tmp_path, "p", file=file, environ=environ).sources

    assert spec.url == "redis://:x@h:6379/0"


def test_several_sources_have_different_names(tmp_path: Path) -> None:
    config = load(tmp_path, "redis://h/0", "celery+redis://h/0", "staging", "jobs")

    assert [spec.name for spec in config.sources] == ["h/0", "h/0 (2)", "staging", "jobs"]
    assert config.refresh_interval == 2.0, "no profile is the profile of several"


def test_the_backend_option_concerns_sources_of_the_command_line(tmp_path: Path) -> None:
    [spec] = load(tmp_path, "redis://h/0", backend="celery").sources

    assert spec.backend == "celery"


def test_bgworkers_own_variable_comes_after_the_file(tmp_path: Path) -> None:
    environ = {"BGWORKER_URL": "sqlite:///srv.db"}

    assert [s.url for s in load(tmp_path, file="", environ=environ).sources] == ["sqlite:///srv.db"]
    assert [s.name for s in load(tmp_path, environ=environ).sources] == ["cache.example.org:6379/0"]


def test_a_queue_in_this_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "bgworker.db").touch()

    assert [s.url for s in load(tmp_path, file=None).sources] == ["sqlite:///bgworker.db"]


def test_nothing_to_watch_says_in_three_lines_how_to_begin(tmp_path: Path) -> None:
    lines = faults(tmp_path, file=None)

    assert len(lines) == 3
    assert "bgtop demo" in lines[2]


def test_the_other_usual_place(tmp_path: Path) -> None:
    folder = tmp_path / "xdg" / "bgtop"
    folder.mkdir(parents=True)
    (folder / "config").write_text("[DEFAULT]\nurl = redis://xdg/0\n")
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "xdg")}

    assert [s.url for s in load(tmp_path, file=None, environ=environ).sources] == ["redis://xdg/0"]


def test_a_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mine"
    path.write_text("url = redis://mine/0")
    environ = {"HOME": str(tmp_path)}

    for config in (
        load_config(Arguments(config=str(path)), environ),
        load_config(Arguments(), {**environ, "BGTOP_CONFIG": str(path)}),
    ):
        assert [spec.url for spec in config.sources] == ["redis://mine/0"]


def test_a_named_file_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nowhere: no such file"):
        load_config(Arguments(config=str(tmp_path / "nowhere")), {})


def test_a_file_of_other_letters_is_told(tmp_path: Path) -> None:
    path = tmp_path / "latin"
    path.write_bytes(b"redis_password = \xe9")

    with pytest.raises(ConfigError, match="latin: is not UTF-8 text"):
        load_config(Arguments(config=str(path)), {})


def test_every_fault_is_told_at_once_with_its_line(tmp_path: Path) -> None:
    file = """[DEFAULT]
redis_port = 70000
colour = blue
refresh_interval = soon
nonsense
[broken
[unused]
max_queues = 0
show_internal = maybe
queue_filter = (
url =
url = redis://h
[alerts]
"""

    assert faults(tmp_path, file=file, environ={"BGTOP_MAX_WORKERS": "-1"}, dead_after="inf") == [
        ".bgtoprc, line 2: redis_port: 70000 is not between 1 and 65535",
        ".bgtoprc, line 3: colour: unknown key",
        ".bgtoprc, line 4: refresh_interval: 'soon' is not a number of seconds",
        ".bgtoprc, line 5: neither a section nor key = value",
        ".bgtoprc, line 6: a section is written [NAME]",
        ".bgtoprc, line 8: max_queues: 0 is not between 1 and 1000000000",
        ".bgtoprc, line 9: show_internal: 'maybe' is neither yes nor no",
        (
            ".bgtoprc, line 10: queue_filter: not a pattern: missing ), "
            "unterminated subpattern at position 0"
        ),
        ".bgtoprc, line 11: url: is empty",
        ".bgtoprc, line 12: url is there twice in [unused]",
        "BGTOP_MAX_WORKERS: -1 is not between 1 and 1000000000",
        "--dead-after: inf is not between 1 seconds and a day",
    ]


def test_an_address_nothing_opens_is_told_with_its_line_whichever_profile_is_used(
    tmp_path: Path,
) -> None:
    file = """[good]
url = redis://h
[unused]
url = gopher://h
max_queues = 0
[other]
url = secret@h:6379
[rest]
url = celery+gopher://h
[named]
backend = celery
url = gopher://h
[mistyped]
url = redis://h:637g/0
"""

    found = faults(tmp_path, "good", file=file)

    assert [fault.partition(";")[0] for fault in found] == [
        ".bgtoprc, line 4: url: no backend opens gopher://",
        ".bgtoprc, line 5: max_queues: 0 is not between 1 and 1000000000",
        ".bgtoprc, line 7: url: is not a URL, such as redis://localhost:6379/0",
        ".bgtoprc, line 9: url: celery+gopher:// is not supported",
        ".bgtoprc, line 14: url: the port is not a number from 1 to 65535",
    ]


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"refresh_interval": "0"}, "--interval: 0 is not between 0.1 seconds and a day"),
        ({"refresh_interval": "nan"}, "--interval: nan is not between 0.1 seconds and a day"),
        ({"max_queues": "ten"}, "--max-queues: 'ten' is not a whole number"),
        ({"worker_filter": "["}, "--worker-filter: not a pattern: unterminated character set"),
    ],
)
def test_bad_options(tmp_path: Path, options: dict[str, str], fault: str) -> None:
    assert faults(tmp_path, "redis://h", **options)[0].startswith(fault)


def test_plug_ins_that_are_not_there_are_told_whichever_profile_is_used(tmp_path: Path) -> None:
    file = """[DEFAULT]
renderer = paper
[good]
url = redis://h/0
[bad]
backend = gearman
renderer = curses
"""
    found = faults(tmp_path, "good", file=file, renderer="plain")

    assert [fault.partition(";")[0] for fault in found] == [
        ".bgtoprc, line 2: renderer: unknown renderer 'paper'",
        ".bgtoprc, line 6: backend: unknown backend 'gearman'",
    ]


def test_a_source_that_is_nothing_is_told_once(tmp_path: Path) -> None:
    assert faults(tmp_path, "-") == [
        "'-' is neither a URL, nor a profile (known: jobs, staging), nor a command in front"
    ]
    assert faults(tmp_path, profile="prod")[0].startswith("'prod' is neither a URL, nor a profile")


def test_a_file_name_gets_a_hint(tmp_path: Path) -> None:
    (tmp_path / "jobs.sqlite").touch()

    assert faults(tmp_path, "jobs.sqlite") == [
        "'jobs.sqlite' is not a URL; a database file is written sqlite:///jobs.sqlite"
    ]


def test_a_profile_without_a_place(tmp_path: Path) -> None:
    assert faults(tmp_path, "p", file="[p]\nmax_queues = 3\n") == [
        "profile 'p' has neither url nor redis_host"
    ]


def test_flags_and_filters(tmp_path: Path) -> None:
    config = load(
        tmp_path, "jobs", show_internal="on", no_color="1", ascii="yes", queue_filter="!^celery"
    )

    assert config.interest.internal
    assert (config.look.color, config.look.ascii) == (False, True)
    assert config.selection.queues is not None
    assert config.selection.queues.inverse


def test_events_are_followed_from_the_start_if_asked_for(tmp_path: Path) -> None:
    assert load(tmp_path, file="url = redis://h\nevents = on\n").interest.events
    assert load(tmp_path, "redis://h", events="yes").interest.events
    assert not load(tmp_path, "redis://h").interest.events


def test_the_url_is_not_in_the_representation_of_a_source(tmp_path: Path) -> None:
    assert "s3cret" not in repr(load(tmp_path, "redis://:s3cret@h/0"))


def test_colours_and_the_screen(tmp_path: Path) -> None:
    file = "theme = light\nrenderer = rich\nno_mouse = yes\n[colors]\ntitle_strong = 208 on black\n"

    config = load(tmp_path, "redis://h", file=file)

    assert config.renderer == "rich"
    assert (config.look.theme, config.look.mouse) == ("light", False)
    assert config.look.colors == (("title_strong", "208 on black"),)


def test_all_faults_of_the_colours_are_told_with_their_lines(tmp_path: Path) -> None:
    file = "theme = pink\n[colors]\nbad = rot\nwallpaper = red\nwarn =\n"

    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "redis://h", file=file)

    first, *others = [fault.partition(", ")[2] for fault in caught.value.faults]
    assert first.startswith("line 1: theme: 'pink' is no theme; known: default, light")
    assert [fault[:32] for fault in others] == [
        "line 3: bad: 'rot' is neither a ",
        "line 4: wallpaper: unknown part ",
        "line 5: warn: is empty; write a ",
    ]


def test_the_colours_are_no_profile(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'colors' is neither a URL, nor a profile"):
        load(tmp_path, "colors", file="[colors]\nbad = red\n")
