"""Effects around the voice, and recording."""

import re
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from altervox.kernels.delay import DelayState, delay_into
from altervox.kernels.errors import MissingDependencyError, OutputError, ParameterError
from altervox.kernels.extras import how_to_install
from altervox.kernels.limiter import CEILING_DB
from altervox.models import load_voice
from altervox.realtime import Engine, StreamConfig
from altervox.realtime.session.chain import LOOK_BACK_MS, Chain
from altervox.realtime.session.denoise import FRAME, LATENCY_SAMPLES, NoiseSuppressor
from altervox.realtime.session.recorder import Recorder
from altervox.realtime.session.settings import ChainConfig
from altervox.realtime.session.state import SessionState

RATE = 48000
BLOCK = 960
SPEECH = Path(__file__).parents[2] / "data" / "alsa_female.wav"


def speech() -> np.ndarray:
    audio, rate = soundfile.read(SPEECH, dtype="float32")
    assert rate == RATE
    return np.asarray(audio[: len(audio) // BLOCK * BLOCK])


def a_chain(rate: int = RATE, block: int = BLOCK, input_gain_db: float = 0.0, **config: Any) -> Chain:
    return Chain.allocate(rate, block, ChainConfig(**config), SessionState(input_gain_db=input_gain_db))


def through(process: Callable[[np.ndarray], None], x: np.ndarray) -> np.ndarray:
    parts = []
    for at in range(0, len(x), BLOCK):
        block = x[at : at + BLOCK].copy()
        process(block)
        parts.append(block)
    return np.concatenate(parts)


def through_chain(x: np.ndarray, chain: Chain, engine_latency: int = 0) -> np.ndarray:
    """Around an engine that only takes its time."""
    line = DelayState.allocate(engine_latency)

    def process(block: np.ndarray) -> None:
        chain.before(block)
        delay_into(block, line, block)
        chain.after(block, engine_latency)

    return through(process, x)


def clicks(seconds: float, level_db: float = -10.0) -> np.ndarray:
    """Typing: short bursts, seven a second."""
    rng = np.random.default_rng(5)
    at = np.zeros(round(seconds * RATE), dtype=np.float32)
    at[rng.integers(0, len(at), round(7 * seconds))] = 1.0
    times = np.arange(RATE // 25) / RATE
    burst = rng.standard_normal(len(times)) * np.exp(-times / 0.005)
    return np.asarray(10 ** (level_db / 20) * np.convolve(at, burst)[: len(at)] / np.abs(burst).max(), dtype=np.float32)


def suppressed(x: np.ndarray) -> np.ndarray:
    suppressor, probability = NoiseSuppressor(), np.zeros(BLOCK // FRAME, dtype=np.float32)
    return through(lambda block: suppressor.process(block, probability), x)


def test_the_suppressor_has_the_delay_that_is_accounted_for() -> None:
    x = speech()
    y = suppressed(x)
    spectrum = np.fft.rfft(y, 2 * len(x)) * np.conj(np.fft.rfft(x, 2 * len(x)))
    lag = int(np.argmax(np.fft.irfft(spectrum)[: len(x)]))
    assert abs(lag - LATENCY_SAMPLES) <= 24  # half a millisecond


def test_the_suppressor_never_writes_beyond_a_block() -> None:
    with pytest.raises(ParameterError, match="1440 samples are not 4 frames"):
        NoiseSuppressor().process(np.zeros(3 * FRAME, dtype=np.float32), np.zeros(4, dtype=np.float32))


def test_the_suppressor_takes_noise_and_leaves_speech() -> None:
    x = speech()
    noise = 0.02 * np.random.default_rng(0).standard_normal(RATE * 2).astype(np.float32)
    quiet = suppressed(noise)[RATE:]
    assert np.sqrt(np.mean(quiet**2)) < 0.1 * 0.02
    kept = suppressed(x)
    assert np.mean(kept**2) > 0.7 * np.mean(x**2)


@pytest.mark.parametrize("suppress_noise", [False, True])
def test_the_chain_adds_up_its_delay(suppress_noise: bool) -> None:
    x = speech()
    chain = a_chain(suppress_noise=suppress_noise)
    y = through_chain(x, chain)
    spectrum = np.fft.rfft(y, 2 * len(x)) * np.conj(np.fft.rfft(x, 2 * len(x)))
    assert abs(int(np.argmax(np.fft.irfft(spectrum)[: len(x)])) - chain.latency_samples) <= 24


@pytest.mark.parametrize("gain_db", [30.0, 60.0])
@pytest.mark.parametrize("suppress_noise", [False, True])
def test_nothing_clips_however_loud_the_microphone_is_made(gain_db: float, suppress_noise: bool) -> None:
    x = speech() / np.abs(speech()).max()
    x[: RATE // 10] += 1.0  # an offset, which the high-pass is there for
    chain = a_chain(input_gain_db=gain_db, suppress_noise=suppress_noise, speech_level_db=-10.0)
    y = through_chain(x, chain)
    assert np.abs(y).max() <= 10 ** (CEILING_DB / 20) + 1e-6
    # At the ceiling for single peaks only: a limiter that clips would stay there.
    assert np.mean(np.abs(y) > 0.999 * 10 ** (CEILING_DB / 20)) < 0.01


@pytest.mark.parametrize(("suppress_noise", "engine_ms"), [(False, 0), (False, 40), (True, 200)])
def test_the_speech_gate_passes_speech_and_not_typing(suppress_noise: bool, engine_ms: int) -> None:
    """Somebody types, speaks and types again, louder than any level gate could tell from a voice."""
    x, engine_latency = np.concatenate((clicks(2), speech(), clicks(2))), engine_ms * RATE // 1000
    gated, ungated = (
        through_chain(x, a_chain(suppress_noise=suppress_noise, speech_gate=gate), engine_latency)
        for gate in (0.8, None)
    )
    delay = a_chain(suppress_noise=suppress_noise).latency_samples + engine_latency
    begins, ends = 2 * RATE + delay, 2 * RATE + len(speech()) + delay
    assert not gated[: begins - LOOK_BACK_MS * RATE // 1000].any()
    assert not gated[ends + RATE // 2 :].any()
    lost = (gated - ungated)[begins:ends]
    assert np.sum(lost**2) < (3e-3 if engine_ms else 0.02) * np.sum(ungated[begins:ends] ** 2)


@pytest.mark.parametrize("engine_ms", [100, 237])
def test_the_gate_goes_with_the_engines_delay_to_the_sample(engine_ms: int) -> None:
    """Nothing that the gate does may depend on how late the engine is, once it is late enough to look back."""
    x, latency = np.concatenate((speech(), np.zeros(RATE, dtype=np.float32))), engine_ms * RATE // 1000
    base = LOOK_BACK_MS * RATE // 1000
    late, early = (through_chain(x, a_chain(speech_gate=0.8), samples) for samples in (latency, base))
    np.testing.assert_array_equal(late[latency - base :], early[: len(x) - latency + base])


def test_a_voice_of_more_delay_takes_the_gate_along() -> None:
    """The gain that is due next is held for as long as the delay grows, as the engine holds its output."""
    chain, x = a_chain(speech_gate=0.8), speech()
    before, after = 100 * RATE // 1000, 300 * RATE // 1000
    at = len(x) // 3 // BLOCK * BLOCK
    gains = []
    for start in range(0, len(x), BLOCK):
        chain.before(x[start : start + BLOCK].copy())
        gains.append(np.full(BLOCK, 0.1, dtype=np.float32))
        chain.after(gains[-1], before if start < at else after)
    y = np.concatenate(gains) / 0.1
    same = a_chain(speech_gate=0.8)
    wanted = []
    for start in range(0, len(x), BLOCK):
        same.before(x[start : start + BLOCK].copy())
        wanted.append(np.full(BLOCK, 0.1, dtype=np.float32))
        same.after(wanted[-1], before)
    z, grown, shift = np.concatenate(wanted) / 0.1, after - before, chain.limiter.latency_samples
    np.testing.assert_allclose(y[: at + shift], z[: at + shift], rtol=1e-6)
    np.testing.assert_allclose(y[at + grown + shift :], z[at + shift : len(z) - grown], rtol=1e-6)
    assert 0.0 in z[at:]
    assert 1.0 in np.round(z[at:], 6)


def test_soft_speech_is_brought_up_and_what_is_typed_meanwhile_is_not() -> None:
    chain = a_chain(speech_level_db=-23.0)
    y = through_chain(np.tile(0.2 * speech(), 2), chain)[len(speech()) + chain.latency_samples :]
    clean = 0.2 * speech()[: len(y)]
    spoken = np.abs(clean) > 0.004
    gain_db = 10 * np.log10(np.sum(y[spoken] ** 2) / np.sum(clean[spoken] ** 2))
    assert gain_db == pytest.approx(10.0, abs=1.5)  # the recording has -33 dB where it speaks
    before = chain.leveller.gain_db
    through_chain(clicks(5), chain)
    assert chain.leveller.gain_db == before


def test_after_a_reset_the_chain_gives_the_same_again() -> None:
    chain = a_chain(input_gain_db=6.0, suppress_noise=True, speech_level_db=-23.0, speech_gate=0.8)
    first = through_chain(speech(), chain, 3000)
    chain.reset()
    np.testing.assert_array_equal(through_chain(speech(), chain, 3000), first)


def test_a_block_allocates_nothing() -> None:
    """What NumPy allocates is seen by tracemalloc. A block of booleans would already be above the bound."""
    chain = a_chain(input_gain_db=6.0, suppress_noise=True, speech_level_db=-23.0, speech_gate=0.8)
    block = speech()[:BLOCK].copy()

    def feed() -> None:
        chain.before(block)
        chain.after(block, 3000)

    feed()
    tracemalloc.start()
    try:
        feed()
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        feed()
        assert tracemalloc.get_traced_memory()[1] - before < BLOCK
    finally:
        tracemalloc.stop()


def test_a_dsp_voice_is_as_loud_as_the_speaker_moment_by_moment() -> None:
    """Spoken, then a tenth as loud: no voice may flatten that. Levels of 50 ms, on the input's time."""
    engine = Engine(load_voice("robot"), StreamConfig(sample_rate=RATE, block_ms=200))
    said = speech()[: 10 * engine.block_size]
    x, window = np.concatenate((said, 0.1 * said)), RATE // 20
    y = np.empty_like(x)
    for at in range(0, len(x), engine.block_size):
        engine.process(x[at : at + engine.block_size], y[at : at + engine.block_size])
    y = y[engine.latency_samples :]
    count = len(y) // window * window
    level_db, voice_db = (10 * np.log10(np.mean(z[:count].reshape(-1, window) ** 2, axis=1) + 1e-9) for z in (x, y))
    heard = level_db > -60.0
    assert np.corrcoef(level_db[heard], voice_db[heard])[0, 1] > 0.97
    assert np.median((voice_db - level_db)[heard]) == pytest.approx(0.0, abs=2.0)


@pytest.mark.parametrize("wanted", [{"suppress_noise": True}, {"speech_gate": 0.8}, {"speech_level_db": -23.0}])
def test_another_rate_and_a_missing_library_are_one_sentence_each(
    wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ParameterError, match="48000 Hz, and the output is at 44100 Hz: choose another output"):
        a_chain(44100, 882, **wanted)
    a_chain(44100, 882)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=re.escape(how_to_install("denoise"))):
        a_chain(**wanted)


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


def test_gaps_are_told_and_do_not_end_a_recording(tmp_path: Path) -> None:
    rate, room_s = 8000, 20
    recorder = Recorder(tmp_path, rate)
    taken = np.ones(25 * rate, dtype=np.float32)
    recorder.take(taken, taken)  # at once: the disk is as slow as that
    assert "the recording has gaps, 5.0 s in all" in recorder.error
    end = time.monotonic() + 30.0
    while any(ring.available for ring in recorder._rings):  # what found room is being written
        assert time.monotonic() < end
        time.sleep(0.01)
    recorder.take(taken[:rate], taken[:rate])
    recorder.close()
    assert "the recording has gaps, 5.0 s in all" in recorder.error
    assert [soundfile.info(path).frames for path in recorder.paths] == [(room_s + 1) * rate] * 2


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot record to .*file"):
        Recorder(tmp_path / "file", RATE)
