"""Blocks that come too late to be heard: taken in, not rendered, and what follows is as if they had been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
from altervox.models import load_voice
from altervox.realtime import Engine, StreamConfig, VoiceParams

DATA = Path(__file__).parents[1] / "data"
RATE = 48000
BLOCK_MS = 20
FADE_IN = RATE * 5 // 1000


def speech(seconds: float) -> np.ndarray:
    audio, original = soundfile.read(DATA / "librivox_male.wav", dtype="float32")
    resampled = scipy.signal.resample_poly(audio, RATE // 100, original // 100)
    return np.asarray(resampled[: int(seconds * RATE)], dtype=np.float32)


def run(engine: Engine, audio: np.ndarray, skipped: range = range(0)) -> np.ndarray:
    """The output for whole blocks of audio; silence where a block was skipped."""
    size = engine.block_size
    out = np.zeros(len(audio) // size * size, dtype=np.float32)
    for i, start in enumerate(range(0, len(out), size)):
        block = audio[start : start + size]
        if i in skipped:
            engine.skip(block)
        else:
            engine.process(block, out[start : start + size])
    return out


def engine(name: str, params: VoiceParams | None = None) -> Engine:
    return Engine(load_voice(name), StreamConfig(sample_rate=RATE, block_ms=BLOCK_MS), params)


# Of what was rendered before: 43 ms of responses, which a high-pass filter at 40 Hz lets ring on.
RING_OUT = RATE * 120 // 1000


@pytest.mark.parametrize("first", [31, 40])
@pytest.mark.parametrize("name", ["off", "robot", "woman", "whisper"])
def test_after_skipped_blocks_the_stream_is_as_if_none_had_been_skipped(name: str, first: int) -> None:
    """Nothing comes later or twice, and every pulse is where it would have been; only the past's ringing is missing."""
    audio = speech(2.0)
    whole, skipped = run(engine(name), audio), run(engine(name), audio, range(first, first + 3))
    size = RATE * BLOCK_MS // 1000
    resumed = (first + 3) * size
    np.testing.assert_array_equal(skipped[: first * size], whole[: first * size])
    after, expected = skipped[resumed + FADE_IN :], whole[resumed + FADE_IN :]
    if name == "off":
        np.testing.assert_array_equal(after, expected)
    np.testing.assert_allclose(after[RING_OUT:], expected[RING_OUT:], atol=1e-6)
    assert np.corrcoef(after[:RING_OUT], expected[:RING_OUT])[0, 1] > 0.9
    assert np.abs(whole[resumed:][:FADE_IN]).max() > 1e-3
    assert skipped[resumed] == 0.0


@pytest.mark.parametrize("name", ["woman", "robot", "whisper"])
@pytest.mark.parametrize("block_ms", [20, 200])
def test_what_decides_the_following_blocks_goes_on_exactly(name: str, block_ms: int) -> None:
    audio = speech(3.0)
    states = []
    for skips in (False, True):
        one = Engine(load_voice(name), StreamConfig(sample_rate=RATE, block_ms=block_ms))
        for at in range(0, len(audio) // one.block_size * one.block_size, one.block_size):
            block = audio[at : at + one.block_size]
            one.skip(block) if skips and at >= RATE else one.process(block, np.zeros_like(block))
        states.append(one.state().stage)
    rendered, skipped = states
    assert skipped.synthesis.frame == rendered.synthesis.frame
    assert skipped.synthesis.phase == rendered.synthesis.phase
    assert skipped.synthesis.f0_mem == rendered.synthesis.f0_mem
    assert skipped.preset.speaker.median_hz == pytest.approx(rendered.preset.speaker.median_hz, nan_ok=True)
    np.testing.assert_allclose(skipped.synthesis.spectrum_mem, rendered.synthesis.spectrum_mem, atol=1e-4)
    np.testing.assert_array_equal(skipped.synthesis.periodic_mem, rendered.synthesis.periodic_mem)
    np.testing.assert_array_equal(skipped.window_mem, rendered.window_mem)


def test_the_first_block_after_fades_in() -> None:
    ones = np.ones(RATE // 2, dtype=np.float32)
    out = run(engine("off"), ones, range(3, 5))
    resumed = 5 * RATE * BLOCK_MS // 1000
    rise = out[resumed : resumed + FADE_IN]
    assert rise[0] == 0.0
    assert np.all(np.diff(rise) > 0)
    assert np.diff(rise).max() < 2.0 / FADE_IN
    assert np.all(out[resumed + FADE_IN :] == 1.0)


def test_a_skipped_block_counts_in_a_copied_state() -> None:
    first, second = engine("robot"), engine("robot")
    audio = speech(1.0)
    run(first, audio[: RATE // 2], range(20, 25))
    second.restore(first.state())
    rest = audio[RATE // 2 :]
    out = run(first, rest)
    assert out[0] == 0.0
    np.testing.assert_array_equal(run(second, rest), out)


def test_nothing_that_is_no_number_is_kept_from_a_skipped_block() -> None:
    audio = speech(1.0)
    audio[RATE // 2 : RATE // 2 + 100] = np.nan
    late = range(25, 26)
    assert np.isnan(audio[25 * RATE * BLOCK_MS // 1000])
    out = run(engine("woman"), audio, late)
    assert np.isfinite(out).all()
    assert np.abs(out[-RATE // 4 :]).max() > 1e-3


def test_a_skipped_block_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="this engine takes 960"):
        engine("off").skip(np.zeros(100, dtype=np.float32))
