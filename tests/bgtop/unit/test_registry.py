"""Plug-ins are found by their entry points and loaded when they are used."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import entry_points as slowly
from pathlib import Path

import pytest
import scripted_source

from bgtop.contracts import Mark, Settings
from bgtop.registry import (
    BACKENDS,
    RENDERERS,
    PluginError,
    broker_for,
    entry_points,
    load_backend,
    load_broker,
    load_renderer,
    marks_for,
    open_backend,
    plugin_for,
)


def install(folder: Path, name: str, lines: str, module: str = "", version: str = "1.0") -> None:
    """What pip leaves behind: a module, and the metadata that points at it."""
    metadata = folder / f"{name}-{version}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(lines)
    (folder / f"{name}.py").write_text(module)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of third-party distributions on ``sys.path``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def scripted(site: Path) -> None:
    scripted_source.install(site / "scripted")
    sys.path.insert(0, str(site / "scripted"))


@pytest.mark.parametrize("group", [BACKENDS, RENDERERS, "console_scripts"])
def test_the_quick_way_finds_what_the_library_finds(group: str) -> None:
    found = {entry.name: entry.value for entry in entry_points(group).values()}

    assert found == {entry.name: entry.value for entry in slowly(group=group)}
    assert found


def test_built_in_plugins_come_through_the_same_door() -> None:
    assert {"bgworker", "celery"} <= set(entry_points(BACKENDS))
    assert {"curses", "plain"} <= set(entry_points(RENDERERS))


@pytest.mark.usefixtures("scripted")
def test_a_third_partys_backend_is_found_by_its_scheme() -> None:
    assert plugin_for("scripted:///x") is scripted_source.plugin
    assert plugin_for("anything://x", "scripted") is scripted_source.plugin


def test_metadata_is_read_as_installers_write_it(site: Path) -> None:
    lines = """
# a comment
[console_scripts]
mine = mine:main

[ bgtop.backends ]
mine=mine:plugin [extra]
other.one = mine : thing
"""
    install(site, "mine", lines)

    found = {entry.name: entry for entry in entry_points(BACKENDS).values()}

    assert (found["mine"].value, found["mine"].distribution) == ("mine:plugin", "mine-1.0")
    assert found["other.one"].value == "mine : thing"
    assert "main" not in found


def test_of_two_versions_the_first_on_the_path_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, value in (("old", "mine:old"), ("new", "mine:new")):
        install(tmp_path / folder, "mine", f"[bgtop.backends]\nmine = {value}\n")
        monkeypatch.syspath_prepend(str(tmp_path / folder))

    assert entry_points(BACKENDS)["mine"].value == "mine:new"


def test_a_plugin_in_a_zip_file_is_found_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(
        tmp_path,
        "zipped",
        "[bgtop.backends]\nzipped = zipped:plugin\n",
        "from bgtop.contracts import BackendPlugin\n"
        "plugin = BackendPlugin(name='zipped', summary='', schemes=(), open=None)\n",
    )
    with zipfile.ZipFile(tmp_path / "zipped.zip", "w") as archive:
        for path in tmp_path.rglob("*"):
            if path.is_file() and path.suffix != ".zip":
                archive.write(path, path.relative_to(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "zipped.zip"))

    assert load_backend("zipped").name == "zipped"


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        PluginError, match=r"unknown backend 'rabbit'; known: arq, bgworker, celery"
    ):
        load_backend("rabbit")
    with pytest.raises(PluginError, match=r"unknown renderer 'paper'; known: curses, plain"):
        load_renderer("paper")


def test_an_unknown_scheme_lists_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"no backend opens gopher://; known: .*celery\+redis.*"):
        plugin_for("gopher://h")


def test_a_missing_library_names_the_install_line(site: Path) -> None:
    install(site, "mine_lib", "[bgtop.backends]\nmine = mine_lib:plugin\n", "import not_there\n")

    with pytest.raises(PluginError) as raised:
        load_backend("mine")

    assert str(raised.value) == (
        "backend 'mine' cannot be loaded: No module named 'not_there'; try: pip install 'mine_lib'"
    )


def test_a_plugin_that_breaks_is_one_line(site: Path) -> None:
    install(site, "breaks", "[bgtop.backends]\nbreaks = breaks:plugin\n", "1 / 0\n")
    install(site, "lacks", "[bgtop.backends]\nlacks = lacks:plugin\n")
    install(site, "wrong", "[bgtop.backends]\nwrong = wrong:plugin\n", "plugin = 3\n")

    for name, words in (
        ("breaks", "ZeroDivisionError"),
        ("lacks", "has no attribute 'plugin'"),
        ("wrong", "is no BackendPlugin"),
    ):
        with pytest.raises(PluginError, match=words):
            load_backend(name)


def test_one_broken_plugin_does_not_hide_the_others(site: Path) -> None:
    install(site, "aaa", "[bgtop.backends]\naaa = aaa:plugin\n", "1 / 0\n")
    scripted_source.install(site / "scripted")
    sys.path.insert(0, str(site / "scripted"))

    # The name of this scheme is no plug-in's, so all of them are asked.
    assert plugin_for("sqlite:///x").name == "bgworker"
    with pytest.raises(PluginError, match=r"gopher://.*ZeroDivisionError"):
        plugin_for("gopher://h")


@pytest.mark.parametrize("url", ["redis://h", "rediss://h", "redis+socket:///s"])
def test_a_bare_broker_belongs_to_no_backend(url: str) -> None:
    broker = broker_for(url)

    assert broker is not None
    assert broker.name == "redis"
    assert {"celery", "dramatiq", "huey", "rq"} <= set(marks_for(broker, url).by_backend)
    assert broker_for(f"celery+{url}") is None
    assert plugin_for(f"celery+{url}").name == "celery"
    assert broker_for("sqlite:///x") is None


def test_a_broker_nobody_can_search_is_a_question_back(site: Path) -> None:
    module = (
        "from bgtop.contracts import BackendPlugin\n"
        "plugin = BackendPlugin(name='dove', summary='', schemes=('dove+pigeon',), open=None)\n"
    )
    install(site, "dove", "[bgtop.backends]\ndove = dove:plugin\n", module)

    with pytest.raises(
        PluginError, match=r"^pigeon:// cannot be searched; name the system: dove\+pigeon://$"
    ):
        plugin_for("pigeon://h")


def test_marks_count_where_the_backend_can_be_opened(site: Path) -> None:
    module = """
from bgtop.contracts import BackendPlugin, Mark
marks = (Mark("post:boxes", type="set"), Mark("letters", broker="amqp"))
plugin = BackendPlugin(name="post", summary="", schemes=("post+redis",), open=None, marks=marks)
"""
    install(site, "post", "[bgtop.backends]\npost = post:plugin\n", module)
    install(site, "aaa", "[bgtop.backends]\naaa = aaa:plugin\n", "1 / 0\n")
    broker = load_broker("redis")

    found = marks_for(broker, "redis://h")

    assert found.by_backend["post"] == (Mark("post:boxes", type="set"),)
    assert "post" not in marks_for(broker, "rediss://h").by_backend
    assert "bgworker" not in found.by_backend
    assert ["ZeroDivisionError" in fault for fault in found.faults] == [True]


def test_opening_says_what_is_wrong_with_an_address() -> None:
    with pytest.raises(PluginError, match=r"backend 'celery' cannot read this URL: ."):
        open_backend(load_backend("celery"), "celery+redis://h:port/0", Settings())


def test_opening_names_the_install_line_of_a_missing_library(site: Path) -> None:
    module = """
from bgtop.contracts import BackendPlugin
def _open(url, settings):
    import not_there
plugin = BackendPlugin(name="needs", summary="", schemes=(), open=_open,
                       requires="pip install bgtop-needs")
"""
    install(site, "needs", "[bgtop.backends]\nneeds = needs:plugin\n", module)

    with pytest.raises(PluginError, match=r"lacks a library: .*; pip install bgtop-needs"):
        open_backend(load_backend("needs"), "needs://", Settings())


def test_finding_plugins_does_not_import_the_slow_library() -> None:
    code = (
        "import sys\n"
        "from bgtop.registry import load_renderer, plugin_for\n"
        "plugin_for('celery+redis://h'); load_renderer('plain')\n"
        "print([name for name in sys.modules if name.startswith('importlib.metadata')])\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
