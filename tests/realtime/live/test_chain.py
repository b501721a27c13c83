"""Effects around the voice, and recording."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import MissingDependencyError, OutputError, ParameterError
from altervox.realtime.live.chain import Chain
from altervox.realtime.live.denoise import LATENCY_SAMPLES, NoiseSuppressor
from altervox.realtime.live.recorder import Recorder

RATE = 48000
SPEECH = Path(__file__).parents[2] / "data" / "alsa_female.wav"


def speech() -> np.ndarray:
    audio, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == RATE
    return np.asarray(audio[: len(audio) // 960 * 960])


def through(process: Callable[[np.ndarray], None], x: np.ndarray) -> np.ndarray:
    parts = []
    for at in range(0, len(x), 960):
        block = x[at : at + 960].copy()
        process(block)
        parts.append(block)
    return np.concatenate(parts)


def suppressed(x: np.ndarray) -> np.ndarray:
    suppressor = NoiseSuppressor()
    try:
        return through(suppressor.process, x)
    finally:
        suppressor.close()


def test_the_suppressor_has_the_delay_that_is_accounted_for() -> None:
    x = speech()
    y = suppressed(x)
    spectrum = np.fft.rfft(y, 2 * len(x)) * np.conj(np.fft.rfft(x, 2 * len(x)))
    lag = int(np.argmax(np.fft.irfft(spectrum)[: len(x)]))
    assert abs(lag - LATENCY_SAMPLES) <= 24  # half a millisecond


def test_the_suppressor_takes_noise_and_leaves_speech() -> None:
    x = speech()
    noise = 0.02 * np.random.default_rng(0).standard_normal(RATE * 2).astype(np.float32)
    quiet = suppressed(noise)[RATE:]
    assert np.sqrt(np.mean(quiet**2)) < 0.1 * 0.02
    kept = suppressed(x)
    assert np.mean(kept**2) > 0.7 * np.mean(x**2)


def test_the_suppressor_knows_one_rate() -> None:
    with pytest.raises(ParameterError, match="at 48000 Hz, and the output is at 44100"):
        NoiseSuppressor(44100)


def test_a_missing_suppressor_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'altervox\[denoise\]'"):
        NoiseSuppressor()


@pytest.mark.parametrize("suppress_noise", [False, True])
def test_the_chain_adds_up_its_delay(suppress_noise: bool) -> None:
    x = speech()
    chain = Chain.allocate(RATE, suppress_noise)

    def process(block: np.ndarray) -> None:
        chain.before(block)
        chain.after(block)

    y = through(process, x)
    spectrum = np.fft.rfft(y, 2 * len(x)) * np.conj(np.fft.rfft(x, 2 * len(x)))
    assert abs(int(np.argmax(np.fft.irfft(spectrum)[: len(x)])) - chain.latency_samples) <= 24


def test_a_recording_holds_every_sample(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new", RATE)
    rng = np.random.default_rng(0)
    heard, sent = rng.uniform(-2, 2, (2, RATE * 3)).astype(np.float32)
    for at in range(0, len(heard), 1920):
        recorder.take(heard[at : at + 1920], sent[at : at + 1920])
        if at % 48000 == 0:
            time.sleep(0.05)
    recorder.close()
    assert recorder.lost == 0
    for path, wanted in zip(recorder.paths, (heard, sent), strict=True):
        np.testing.assert_array_equal(soundfile.read(path, dtype="float32")[0], wanted)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file cannot be recorded to"):
        Recorder(tmp_path / "file", RATE)
