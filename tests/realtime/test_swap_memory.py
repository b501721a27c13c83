"""What a running stream keeps beyond the engine that is heard: the last sample that was heard, and the speaker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from altervox.models import load_voice
from altervox.realtime import Engine, StreamConfig
from altervox.realtime.swap import SwappableEngine

SPEECH, RATE = soundfile.read(Path(__file__).parents[1] / "data" / "librivox_male.wav", dtype="float32")
CONFIG = StreamConfig(sample_rate=RATE, block_ms=20)
SIZE = CONFIG.block_size


def voice(name: str) -> Engine:
    return Engine(load_voice(name), CONFIG)


def run(engine: SwappableEngine, blocks: range) -> np.ndarray:
    out = np.zeros(len(blocks) * SIZE, dtype=np.float32)
    for k, i in enumerate(blocks):
        engine.process(SPEECH[i * SIZE : (i + 1) * SIZE], out[k * SIZE : (k + 1) * SIZE])
    return out


@pytest.mark.parametrize("what", ["bypass", "swap"])
def test_a_late_block_fades_out_from_what_was_heard(what: str) -> None:
    """Not from what the engine gave, of which the bypass leaves nothing and a swap a part."""
    steps = []
    engine = SwappableEngine(voice("woman"))
    engine.bypass = what == "bypass"
    run(engine, range(100))
    for i in range(100, 160, 10):
        if what == "swap":
            engine.swap_to(voice("robot" if i % 20 else "woman"))
        before = run(engine, range(i, i + 1))
        late = np.zeros(SIZE, dtype=np.float32)
        engine.skip(SPEECH[(i + 1) * SIZE : (i + 2) * SIZE], late)
        steps.append(abs(late[0] - before[-1]) / max(abs(before[-1]), 1e-3))
        run(engine, range(i + 2, i + 10))
    assert max(steps) < 0.05  # of the first step of the fade


def test_a_block_that_is_silenced_for_nan_fades_out(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = SwappableEngine(voice("woman"))
    before = run(engine, range(100))
    assert abs(before[-1]) > 1e-3
    with monkeypatch.context() as patch:
        patch.setattr(engine.engine.stage, "process", lambda block, params, out: out.fill(np.nan))
        silenced = run(engine, range(100, 101))
    assert engine.nonfinite_blocks == 1
    assert silenced[0] == pytest.approx(before[-1], rel=0.05)
    assert not silenced[SIZE // 2 :].any()


def test_the_speaker_is_known_after_a_stretch_without_a_voice() -> None:
    engine, last = SwappableEngine(voice("woman")), voice("child")
    run(engine, range(100))
    assert engine.engine.stage is not None
    assert engine.engine.stage.speaker is not None
    known = engine.engine.stage.speaker.voiced_frames
    engine.swap_to(voice("off"))
    run(engine, range(100, 130))
    engine.swap_to(last)
    assert last.stage is not None
    assert last.stage.speaker is not None
    assert last.stage.speaker.voiced_frames >= known > 50
