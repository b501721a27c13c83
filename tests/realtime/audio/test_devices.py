"""What libraries write to stderr is kept for -v; what is ours comes out."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from altervox.realtime.audio.devices import quiet

pytestmark = pytest.mark.linux


def test_lines_of_libraries_are_logged_and_ours_come_out(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with quiet(), quiet():
        os.write(2, b"ALSA lib pcm_pulse.c:758:(pulse_prepare) \x1b[31mUnable to create stream\nours\nwithout an end")
        os.write(2, b"\nExpression 'err' failed in 'src/hostapi/alsa/pa_linux_alsa.c', line: 3355\n")
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "ours\nwithout an end\nafter\n"
    assert "Unable to create stream" in caplog.text
    assert "pa_linux_alsa.c" in caplog.text
    assert "\x1b" not in caplog.text


def test_a_failure_inside_is_not_swallowed(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ZeroDivisionError), quiet():
        os.write(2, b"ours\n") / 0
    assert capfd.readouterr().err == "ours\n"


def test_an_audio_process_parts_from_libraries_only() -> None:
    code = (
        "import os, sys, logging; from altervox.realtime.audio.devices import part_from_libraries as part\n"
        "part(); logging.basicConfig(); os.write(2, b'library\\n'); logging.warning('ours')\n"
        "print('x', file=sys.stderr)\n"
        "raise SystemExit('end')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == "WARNING:root:ours\nx\nend\n"


def test_without_a_stderr_nothing_fails() -> None:
    code = (
        "import os; os.close(2); from altervox.realtime.audio.devices import part_from_libraries, quiet\n"
        "with quiet(): pass\n"
        "part_from_libraries(); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout == "done\n"
