"""Plain text: the page for pipes and logs."""

from __future__ import annotations

import threading

import pytest
from frames import ANY_FRAME, T0, frame, source, usual_frame
from hypothesis import given

from bgtop.contracts import Look
from bgtop.model import Frame, Reading
from bgtop.registry import load_renderer
from bgtop.renderers.plain import text_of
from bgtop.view.pages import page_of
from bgtop.view.ui import Ui


def plain(seen: Frame, *, ascii_letters: bool = False) -> list[str]:
    return text_of(page_of(seen, Ui(), T0), ascii_letters=ascii_letters).splitlines()


@given(ANY_FRAME)
def test_any_frame_has_the_promised_parts(seen: Frame) -> None:
    lines = plain(seen)

    queues = next(n for n, line in enumerate(lines) if line.startswith("QUEUE"))
    workers = next(n for n, line in enumerate(lines) if line.startswith("WORKER"))
    assert 0 < queues < workers
    assert all(line.isprintable() for line in lines)


def test_every_row_is_there() -> None:
    lines = plain(usual_frame())

    assert len([line for line in lines if line.startswith("celery@")]) == 6


def test_numbers_stand_right_below_their_heading() -> None:
    lines = plain(usual_frame())
    heading = next(line for line in lines if line.startswith("QUEUE"))
    row = next(line for line in lines if line.startswith("webhooks"))

    end = heading.index("DEPTH") + len("DEPTH")
    assert row[:end].endswith(" 1332")


def test_warnings_come_last() -> None:
    warned = Reading(taken_at=T0, warnings=("events are off",))

    assert plain(frame(source(warned)))[-1] == "warning: events are off"


def test_ascii() -> None:
    assert "".join(plain(usual_frame(), ascii_letters=True)).isascii()


def test_the_renderer_writes_pages_and_waits(capsys: pytest.CaptureFixture[str]) -> None:
    renderer = load_renderer("plain").open(Look())
    renderer.draw(page_of(usual_frame(), Ui(), T0))
    assert capsys.readouterr().out.startswith("Queues 7")

    threading.Timer(0.05, renderer.wake).start()
    assert renderer.next_key(20) is None
    assert renderer.size.columns > 0
    renderer.close()
