"""Text from outside: nothing of it commands a terminal, breaks a line or cannot be encoded."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from altervox.kernels.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain  text, 100 %", "plain  text, 100 %"),
        ("Алиса müller 語 \N{SNOWMAN}", "Алиса müller 語 \N{SNOWMAN}"),
        ("a\x1b[31mred\x1b[0m b", "ared b"),
        ("a\x9b31mred", "ared"),
        ("title \x1b]0;owned\x07here", "title here"),
        ("link \x1b]8;;http://x\x1b\\here", "link here"),
        ("dcs \x1bPq#0\x1b\\end", "dcs end"),
        ("reset\x1bc, charset\x1b(B.", "reset, charset."),
        ("half\x1b", "half"),
        ("half\x1b]0;rest", "half0;rest"),
        ("one\ntwo\r\nthree\tfour\x0bfive\u2028six\x85seven", "one two  three four five six seven"),
        ("bell\x07 back\x08 nul\x00 del\x7f", "bell back nul del"),
        ("right\u202eto left\u2066 zero\u200bwidth\ufeff", "rightto left zerowidth"),
        ("  around \n", "around"),
        ("m\udcfcller.wav", "m\\xfcller.wav"),
        ("high \ud83d alone", "high  alone"),
        ("", ""),
        (Path("a") / "b\n.wav", f"a{os.sep}b .wav"),
        (ValueError("no\x1b[2J"), "no"),
    ],
)
def test_one_line_of_printable_characters(text: object, shown: str) -> None:
    assert printable(text) == shown
    assert printable(text).encode("utf-8").decode() == shown


def test_long_text_is_cut() -> None:
    assert printable("x" * 60, 60) == "x" * 60
    assert printable("x" * 61, 60) == "x" * 57 + "..."
    assert printable("x" * 59 + "\udcfc", 60) == "x" * 57 + "..."
    assert len(printable("\x1b[31m" * 1000 + "x", 60)) <= 60


@pytest.mark.parametrize("part", ["x", "\x1b]0;", "\x1b[", "\x1b", "\x9d", "\udc80", "\n"])
def test_endless_text_takes_no_time(part: str) -> None:
    text = part * (10_000_000 // len(part))
    started = time.process_time()
    assert len(printable(text, 1000)) <= 1000
    assert time.process_time() - started < 0.2
