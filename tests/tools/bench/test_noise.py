"""The tables of noise: known ratios come out as they are, and the speech gate does what a level gate cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from cli_runner import MALE, altervox, altervox_process


def test_tables_of_a_recording() -> None:
    done = altervox_process(MALE, module="altervox.tools.bench.noise")
    assert done.code == 0, done.err
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.out.splitlines() if "| " in line]
    suppression = {row[0]: row[1:] for row in rows if len(row) == 5}
    gates = {row[0]: row[1:] for row in rows if len(row) > 5}
    assert "delay 20.00 ms" in done.out
    assert suppression["none"][0] == "-"
    for name, snr_db in (("pink, SNR 10 dB", 10.0), ("pink, SNR 0 dB", 0.0)):
        before, after, _, pauses = map(float, suppression[name])
        assert before == pytest.approx(snr_db, abs=0.5)
        assert after > before + 3.0
        assert pauses < -20.0
    shares = dict(zip(gates["noise"], gates["pink, SNR 0 dB"], strict=True))
    assert shares["level -40 dB"] == "0.0 / 100"
    lost, passed = map(float, shares["speech 0.8, 38 ms"].split("/"))
    assert lost < 1.0
    assert passed < 20.0


def test_a_silent_recording_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(48000), 48000)
    done = altervox(path, module="altervox.tools.bench.noise")
    assert done.code == 1
    assert done.complaints == [f"altervox: {path} holds no sound"]
