"""bgtop: see and steer any background-job system from one screen."""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from bgtop.inspection import inspect as inspect

__all__ = ["__version__", "inspect"]


def __getattr__(name: str) -> object:
    """What few programs need is loaded when it is used: the command ``bgtop`` starts without.

    By its name, because whatever imports anything of this package depends on nothing here.
    """
    if name != "inspect":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import sys

    __import__("bgtop.inspection")
    return sys.modules["bgtop.inspection"].inspect
