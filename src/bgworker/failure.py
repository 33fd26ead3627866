"""What is stored of an exception that a task raised."""

from __future__ import annotations

from bgworker.codec import dump_error

_OURS = "bgworker."
"""How the modules are named whose frames say nothing about the task."""


def describe(error: BaseException) -> str:
    """A stored error: type, message, and the traceback from the task's own frame on."""
    import traceback  # with it comes what reads source code: no task has failed before

    kind = type(error)
    name = (
        kind.__qualname__
        if kind.__module__ == "builtins"
        else f"{kind.__module__}.{kind.__qualname__}"
    )
    try:
        message = str(error)
    except BaseException as broken:  # noqa: BLE001 - a user's __str__
        message = f"(its message cannot be shown: {type(broken).__name__})"
    frames = error.__traceback__
    while frames and frames.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        frames = frames.tb_next
    text = "".join(traceback.format_exception(kind, error, frames or error.__traceback__))
    return dump_error(name, message, text)
