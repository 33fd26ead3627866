"""A backend for ``django.tasks``, and ``manage.py bgworker``; see docs/how-to/django.md.

An entry of ``INSTALLED_APPS``. The backend is in :mod:`.backend`, the one for the package
``django-tasks`` in :mod:`.backport`.
"""
