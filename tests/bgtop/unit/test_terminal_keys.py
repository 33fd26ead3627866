"""What terminals send, byte by byte, and the keys it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgtop.renderers.terminal_keys import LONGEST_SEQUENCE, TerminalKeys

KEYS = {
    b"j": ["j"],
    b" ": [" "],
    "ü日😀".encode(): ["ü", "日", "😀"],
    b"\x1b[A\x1b[B\x1b[C\x1b[D": ["up", "down", "right", "left"],
    b"\x1bOA\x1bOB\x1bOH\x1bOF": ["up", "down", "home", "end"],
    b"\x1b[1;5C": ["right"],
    b"\x1b[5~\x1b[6~": ["pgup", "pgdn"],
    b"\x1b[1~\x1b[4~\x1b[7~\x1b[8~\x1b[H\x1b[F": ["home", "end"] * 3,
    b"\x1b[2~\x1b[3~\x1b[3;5~": ["insert", "delete", "delete"],
    b"\x1bOP\x1b[11~\x1b[[A\x1b[[E": ["f1", "f1", "f1", "f5"],
    b"\x1b[15~\x1b[24~": ["f5", "f12"],
    b"\t\x1b[Z\x1b\t": ["tab", "backtab", "backtab"],
    b"\r\n\x1bOM": ["enter"] * 3,
    b"\x7f\x08": ["backspace", "backspace"],
    b"\x01\x0c\x15\x1a": ["ctrl+a", "ctrl+l", "ctrl+u", "ctrl+z"],
    b"\x1bj": ["esc", "j"],
    b"\x1b\x1b[A": ["esc", "up"],
    b"\x1b[<0;1;1M\x1b[<0;1;1m": ["click 0 0"],
    b"\x1b[<0;240;61M": ["click 239 60"],
    b"\x1b[<4;3;2M": ["click 2 1"],
    b"\x1b[<64;9;9M\x1b[<65;9;9M\x1b[<69;9;9M": [
        "wheelup 8 8",
        "wheeldown 8 8",
        "wheeldown 8 8",
    ],
}

NOTHING = [
    *(b"\x00", b"\x1c", b"\x1b[25~", b"\x1b[~", b"\x1b[99;99;99M", b"\x1b[?1;2c", b"\x1b[200~"),
    *(b"\x1b[M !!", b"\x1b[<0;1M", b"\x1b[<0;0;5M", b"\x1b[<1;5;5M", b"\x1b[<35;5;5M", b"\x1bOz"),
    *(b"\xff", b"\x80", b"\xc3(", b"\xe2\x80\xae", b"\xc2\x9b", b"\xed\xa0\x80", b"\x1b[[z"),
    *(b"\x1b[<;;M", b"\x1b[<9999999999;1;1M", b"\x1b[1;2;3", b"\xf0\x9f"),
]


@pytest.mark.parametrize("sent", KEYS)
def test_keys(sent: bytes) -> None:
    keys = TerminalKeys()

    assert keys.feed(sent) == KEYS[sent]
    assert not keys.waiting


@pytest.mark.parametrize("sent", KEYS)
def test_keys_that_come_byte_by_byte(sent: bytes) -> None:
    """As over a slow line: only an Esc alone cannot be told from a beginning."""
    keys = TerminalKeys()

    names = [name for byte in sent for name in keys.feed(bytes([byte]))]

    assert names == KEYS[sent]


@pytest.mark.parametrize("sent", NOTHING)
def test_what_is_no_key_leaves_the_next_one_alone(sent: bytes) -> None:
    keys = TerminalKeys()

    names = keys.feed(sent) + keys.flush() + keys.feed(b"\r") + keys.flush()

    assert names[-1:] == ["enter"]
    assert set(names) <= {"enter", "("}


def test_an_escape_alone_is_known_when_nothing_follows() -> None:
    keys = TerminalKeys()
    assert keys.feed(b"\x1b") == []
    assert keys.waiting

    assert keys.flush() == ["esc"]
    assert not keys.waiting


def test_a_key_during_a_sequence_breaks_it_off() -> None:
    assert TerminalKeys().feed(b"\x1b[12\x1b[A") == ["up"]


@given(st.lists(st.binary(max_size=100), max_size=20))
def test_any_bytes_are_read_and_little_is_kept(parts: list[bytes]) -> None:
    keys = TerminalKeys()

    for part in parts:
        for name in keys.feed(part):
            assert name.isprintable()
        assert len(keys._held) <= LONGEST_SEQUENCE


@given(st.lists(st.sampled_from(sorted(KEYS)), max_size=20), st.data())
def test_how_the_bytes_are_cut_makes_no_difference(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(sent)
    cut = data.draw(st.integers(0, len(stream)))
    keys = TerminalKeys()

    assert keys.feed(stream[:cut]) + keys.feed(stream[cut:]) == [
        name for part in sent for name in KEYS[part]
    ]
