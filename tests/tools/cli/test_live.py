"""What the command line of `altervox live` refuses before it looks for devices."""

from __future__ import annotations

from pathlib import Path

import pytest
from cli_runner import altervox


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--seconds", "3"], "--seconds"),
        (["--voice", "robot", "--input", "microphone"], "--voice"),
        (["--record", "takes", "--monitor", "headphones"], "--monitor, --record"),
        (["--json", "--denoise", "--hot-keys", "--device-buffer-ms", "5"], "--denoise, --hot-keys"),
        (["--hot-key", "mute=f8", "--screenshot", "view.svg"], "--hot-key, --screenshot"),
        (["--gain-db", "0"], "--gain-db"),
    ],
)
def test_measure_refuses_what_it_has_no_use_for(options: list[str], named: str) -> None:
    done = altervox("live", "--measure", *options)
    assert done.code == 2
    assert f"--measure cannot be combined with {named}" in done.err


def test_a_screenshot_into_a_folder_that_is_missing(tmp_path: Path) -> None:
    done = altervox("live", "--screenshot", tmp_path / "nowhere" / "view.svg")
    assert done.code == 1
    (sentence,) = done.err.splitlines()
    assert sentence.endswith(f"folder {tmp_path / 'nowhere'} does not exist; create it first")
