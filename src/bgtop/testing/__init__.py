"""What the author of a plug-in needs for tests: the conformance suite and a way to wait.

::

    from bgtop.testing import BackendSuite

    class TestMine(BackendSuite):
        @pytest.fixture(autouse=True)
        def _source(self, tmp_path):
            self.path = tmp_path / "jobs"

        def open_backend(self):
            return mine.plugin.open(f"mine://{self.path}", Settings())

        def fill(self, queue, count, priority=0):
            ...  # put jobs with the real client of the system

That is a complete test. :class:`~bgtop.testing.hooks.BackendHooks` lists the optional hooks, each
of which unlocks tests that are skipped without it. A backend that shows single jobs takes
:class:`JobSuite` besides, one that can act :class:`ActionSuite`. A renderer takes
:class:`RendererSuite`, and pyte. Needs pytest; for asserts that
explain themselves call ``pytest.register_assert_rewrite("bgtop.testing")`` in ``conftest.py``.
"""

from bgtop.testing.action_suite import ActionSuite
from bgtop.testing.backend_suite import BackendSuite
from bgtop.testing.hooks import HOSTILE_NAMES, BackendHooks
from bgtop.testing.job_hooks import PARENTS, JobHooks
from bgtop.testing.job_suite import JobSuite
from bgtop.testing.renderer_suite import RendererSuite
from bgtop.testing.waiting import queue_in, settled, wait_until

__all__ = [
    "HOSTILE_NAMES",
    "PARENTS",
    "ActionSuite",
    "BackendHooks",
    "BackendSuite",
    "JobHooks",
    "JobSuite",
    "RendererSuite",
    "queue_in",
    "settled",
    "wait_until",
]
