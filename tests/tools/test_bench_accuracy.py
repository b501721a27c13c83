"""The accuracy tables: they come out, and more look-ahead costs less."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RECORDING = Path(__file__).parents[1] / "data" / "librivox_male.wav"


def run(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "altervox.tools", "bench", "accuracy", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_more_lookahead_costs_less() -> None:
    done = run(RECORDING)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if "|" in line]
    numbers = [[float(cell) for cell in row] for row in rows if row[0].isdigit()]
    dsp = [row for row in numbers if len(row) == 6]
    rvc = [row for row in numbers if len(row) == 2]
    assert dsp[-1][1] <= dsp[0][1], "voiced frames missed"
    assert all(row[3] < 5 for row in dsp), "median error in cents"
    errors = [row[1] for row in rvc]
    assert errors[:4] == sorted(errors[:4], reverse=True)
    assert errors[-1] < 1e-4 < errors[0]


def test_a_missing_recording_is_one_sentence() -> None:
    done = run(Path("nope.wav"))
    assert done.returncode == 1
    assert done.stderr == "altervox: nope.wav does not exist; check the name\n"
