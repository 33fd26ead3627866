"""What a third party's engine is tested with.

::

    from bgworker.testing import EngineSuite

    class TestMine(EngineSuite):
        def open_engine(self, clock):
            return mine.Engine(clock=clock)

        def kill(self, engine, seat):
            ...  # make the engine see that no process of this worker is alive

That is a complete test; see :class:`~bgworker.testing.hooks.EngineHooks`. Needs pytest.
"""

import pytest

pytest.register_assert_rewrite(
    "bgworker.testing.claims",
    "bgworker.testing.control",
    "bgworker.testing.endings",
    "bgworker.testing.following",
    "bgworker.testing.limiting",
    "bgworker.testing.schedules",
    "bgworker.testing.retention",
)

from bgworker.testing.claims import ClaimTests  # noqa: E402  # after the rewrite is set up
from bgworker.testing.control import ControlTests  # noqa: E402
from bgworker.testing.endings import EndingTests  # noqa: E402
from bgworker.testing.following import FollowingTests  # noqa: E402
from bgworker.testing.limiting import LimitTests  # noqa: E402
from bgworker.testing.retention import RetentionTests  # noqa: E402
from bgworker.testing.schedules import ScheduleTests  # noqa: E402


class EngineSuite(
    ClaimTests,
    ControlTests,
    EndingTests,
    LimitTests,
    FollowingTests,
    RetentionTests,
    ScheduleTests,
):
    """The tests every engine has to pass; see :class:`bgworker.testing.hooks.EngineHooks`."""


__all__ = ["EngineSuite"]
