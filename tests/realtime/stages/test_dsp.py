"""The stage of the DSP voices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from allocations import allocated
from altervox.kernels.world import BINS, SAMPLE_RATE
from altervox.models import load_voice
from altervox.models.dsp.presets import DSP_VOICES, DspVoice
from altervox.models.voice import VoiceParams
from altervox.realtime import Engine, StreamConfig
from altervox.realtime.stages.dsp import DspStage
from scipy.signal import resample_poly

DATA = Path(__file__).parents[2] / "data"
CONFIG = StreamConfig(block_ms=20)


def stage(name: str) -> DspStage:
    voice = DSP_VOICES[name]
    assert isinstance(voice, DspVoice)
    assert voice.preset is not None
    return DspStage(voice.preset, CONFIG)


def speech(seconds: float) -> np.ndarray:
    audio, rate = soundfile.read(DATA / "librivox_male.wav", dtype="float32")
    audio = resample_poly(audio, SAMPLE_RATE // 100, rate // 100).astype(np.float32)
    return np.asarray(np.resize(audio, round(seconds * SAMPLE_RATE)))


def run(stage: DspStage, audio: np.ndarray, params: VoiceParams | None = None) -> np.ndarray:
    """The stage's output for whole blocks of audio."""
    size = SAMPLE_RATE * CONFIG.block_ms // 1000
    out = np.zeros(len(audio) // size * size, dtype=np.float32)
    for at in range(0, len(out), size):
        stage.process(audio[at : at + size], params or VoiceParams(), out[at : at + size])
    return out


def test_another_voice_goes_on_from_what_is_known_of_the_speaker() -> None:
    """Its shift is right from the first block on; a fresh stage has to hear a voice first."""
    audio = speech(6.0)
    woman, man, fresh = stage("woman"), stage("man"), stage("man")
    run(woman, audio)
    known_hz = woman.speaker.median_hz
    assert 80.0 < known_hz < 160.0
    man.reset()
    man.speaker.adopt(woman.speaker)
    for one in (man, fresh):
        run(one, audio[: SAMPLE_RATE // 50])
    target = 12.0 * np.log2(110.0 / known_hz)
    assert abs(man.state.preset.shift_mem - target) < 0.01
    assert fresh.state.preset.shift_mem == man.preset.pitch_semitones
    assert woman.speaker.median_hz == known_hz


def test_hum_before_the_first_word_is_not_the_speaker() -> None:
    """200 Hz and its harmonics, 45 dB below a man's speech."""
    words = speech(2.0)
    t = np.arange(3 * SAMPLE_RATE + len(words)) / SAMPLE_RATE
    hum = np.sum([np.sin(2 * np.pi * 200.0 * k * t + k) / k for k in range(1, 9)], axis=0)
    audio = hum / hum.std() * words.std() * 10.0 ** (-45.0 / 20.0)
    audio[-len(words) :] += words
    woman, clean = stage("woman"), stage("woman")
    run(woman, audio.astype(np.float32))
    run(clean, words)
    assert abs(12.0 * np.log2(woman.speaker.median_hz / clean.speaker.median_hz)) < 1.0


@pytest.mark.parametrize("name", ["woman", "whisper", "robot"])
@pytest.mark.parametrize("skips", [False, True])
def test_a_block_allocates_no_more_than_the_results_of_pyworld_and_onnx_runtime(name: str, skips: bool) -> None:
    """CheapTrick makes its envelopes twice; the rest is a few objects of Python, such as views and numbers."""
    engine = Engine(load_voice(name), CONFIG)
    audio = resample_poly(speech(2.5), 2, 1).astype(np.float32)
    out = np.zeros(engine.block_size, dtype=np.float32)
    frames = 1 if skips else CONFIG.block_ms // 5
    envelopes = 2 * frames * BINS * 8

    def render(number: int) -> None:
        block = audio[number * engine.block_size : (number + 1) * engine.block_size]
        engine.skip(block) if skips else engine.process(block, out)

    most, grown = allocated(render, 100)
    assert most - envelopes < 4096
    assert grown < 32768
