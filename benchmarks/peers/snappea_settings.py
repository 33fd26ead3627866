"""A Django project of nothing but Snappea: write-ahead mode, and its default of four threads."""

from __future__ import annotations

import os

_DATABASE = os.environ["BENCH_DATABASE"]

SECRET_KEY = "of a benchmark"
USE_TZ = True
INSTALLED_APPS = ["snappea"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": _DATABASE + ".unused"},
    "snappea": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _DATABASE,
        "OPTIONS": {
            "timeout": 30,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode = WAL",
        },
    },
}
DATABASE_ROUTERS = ["snappea.dbrouters.SeparateSnappeaDBRouter"]
SNAPPEA = {"PID_FILE": None, "WAKEUP_CALLS_DIR": _DATABASE + ".wake", "NUM_WORKERS": 4}
