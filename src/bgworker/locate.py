"""Finding the app a command line names."""

from __future__ import annotations

import importlib
import os
import sys

from bgworker.app import BgWorker
from bgworker.errors import BgWorkerError


class AppNotFound(BgWorkerError):
    """``--app`` names no module, or no app in it."""


def locate_app(spec: str) -> BgWorker:
    """The app of ``MODULE`` or ``MODULE:NAME``; the current directory is importable.

    Raises:
        AppNotFound: there is no such module, or not exactly one app to choose.
        Exception: whatever the module itself raises while it is imported.
    """
    module_name, _, name = spec.partition(":")
    if not all(module_name.split(".")):
        raise AppNotFound(f"--app {spec!r}: MODULE or MODULE:NAME is needed, such as jobs:bg")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise AppNotFound(
                f"--app {spec}: there is no module {error.name!r} (looked in {here} and sys.path)"
            ) from None
        raise
    if name:
        found = getattr(module, name, None)
        if not isinstance(found, BgWorker):
            raise AppNotFound(f"--app {spec}: {module_name} has no BgWorker named {name!r}")
        return found
    return _only_app(module_name, vars(module))


def _only_app(module_name: str, names: dict[str, object]) -> BgWorker:
    apps = {
        id(value): (name, value) for name, value in names.items() if isinstance(value, BgWorker)
    }
    if len(apps) != 1:
        known = ", ".join(sorted(name for name, _ in apps.values())) or "none"
        raise AppNotFound(
            f"--app {module_name}: one BgWorker is needed, found {known}; use {module_name}:NAME"
        )
    ((_, app),) = apps.values()
    return app
