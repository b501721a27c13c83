"""What the live benchmark says into the microphone."""

from __future__ import annotations

import subprocess

import pytest
from altervox.tools.bench.sinks import _feed


@pytest.mark.parametrize(("length", "expected"), [(3, b"abc"), (4, b"abcd"), (10, b"abcdabcdab")])
def test_it_is_said_again_until_the_time_is_over(length: int, expected: bytes) -> None:
    echo = ["cat"]
    with subprocess.Popen(echo, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        _feed(process, b"abcd", length)
        assert process.stdout is not None
        assert process.stdout.read() == expected
