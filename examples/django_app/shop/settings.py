"""A project with one SQLite file for its own tables and for the queue."""

import os
from pathlib import Path

FOLDER = Path(os.environ.get("SHOP_FOLDER", Path(__file__).parents[1]))

SECRET_KEY = "only for this example"  # noqa: S105
DEBUG = True
USE_TZ = True
ROOT_URLCONF = "shop.urls"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["bgworker.contrib.django", "shop"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "shop.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    }
}
TASKS = {
    "default": {
        "BACKEND": "bgworker.contrib.django.backend.BgWorkerBackend",
        "QUEUES": ["default", "slow"],
        "OPTIONS": {"database": "default"},
    },
    "apart": {
        "BACKEND": "bgworker.contrib.django.backend.BgWorkerBackend",
        "OPTIONS": {"url": f"sqlite:///{FOLDER}/apart.db", "on_commit": True},
    },
}
