"""The streaming resampler: the same as in one piece, and the delay, gain and rejection that it states."""

from __future__ import annotations

import itertools
import tracemalloc
from typing import Any

import numpy as np
import pytest
import scipy.signal
from altervox.kernels.errors import ParameterError
from altervox.kernels.polyphase import PASS_BAND, ResamplerState, prototype, resample_block, stop_band
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

RATIOS = [
    (48000, 16000),
    (44100, 16000),
    (40000, 48000),
    (48000, 24000),
    (24000, 48000),
    (44100, 48000),
    (48000, 44100),
    (32000, 48000),
    (16000, 40000),
    (8000, 192000),
    (192000, 8000),
]
DEVICE_RATES = [48000, 44100, 40000, 32000, 24000, 16000]
PIECES = {"one by one": [1], "seven": [7], "10 ms": [480], "mixed": [1, 700, 3, 64, 0, 441, 160, 2]}


def noise(samples: int) -> FloatArray:
    return np.random.default_rng(1).uniform(-1.0, 1.0, samples).astype(np.float32)


def stream(x: FloatArray, state: ResamplerState, pieces: list[int]) -> FloatArray:
    parts: list[FloatArray] = []
    start = 0
    for size in itertools.cycle(pieces):
        block = x[start : start + size]
        out = np.full(state.outputs_due(len(block)), np.nan, dtype=np.float32)
        assert resample_block(block, state, out) == len(out)
        parts.append(out)
        start += size
        if start >= len(x):
            return np.concatenate(parts)
    raise AssertionError


def resample(x: FloatArray, from_rate: int, to_rate: int, half_periods: int = 16) -> tuple[FloatArray, float]:
    """A whole signal in one piece, and the delay of the resampler in output samples."""
    state = ResamplerState.allocate(from_rate, to_rate, len(x), half_periods)
    return stream(x, state, [len(x)]), state.delay_samples_out


def sine(frequency_hz: float, rate: int, seconds: float = 0.5) -> FloatArray:
    return np.asarray(np.sin(2 * np.pi * frequency_hz / rate * np.arange(int(rate * seconds))), dtype=np.float32)


def level_db(x: NDArray[np.floating[Any]]) -> float:
    """Relative to a full-scale sine."""
    return float(20 * np.log10(np.sqrt(2) * np.sqrt(np.mean(np.square(x, dtype=np.float64)))))


def fit_sine(y: FloatArray, frequency_hz: float, rate: int) -> tuple[float, NDArray[np.float64]]:
    """Amplitude of the sine of one frequency that is nearest to `y`, and what is left without it."""
    angle = 2 * np.pi * frequency_hz / rate * np.arange(len(y))
    basis = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    weights = np.linalg.lstsq(basis, y.astype(np.float64), rcond=None)[0]
    return float(np.hypot(*weights)), np.asarray(y - basis @ weights)


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES.keys())
@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_streamed_equals_one_shot(from_rate: int, to_rate: int, pieces: list[int]) -> None:
    x = noise(6000)
    state = ResamplerState.allocate(from_rate, to_rate, 700)
    y = stream(x, state, pieces)
    np.testing.assert_array_equal(y, resample(x, from_rate, to_rate)[0])
    expected = scipy.signal.upfirdn(prototype(state.up, state.down), x.astype(np.float64), state.up, state.down)
    np.testing.assert_allclose(y, expected[: len(y)], rtol=0, atol=1e-6)


def test_streamed_in_random_pieces_equals_one_shot() -> None:
    x = noise(20000)
    pieces = np.random.default_rng(2).integers(0, 900, 200).tolist()
    y = stream(x, ResamplerState.allocate(44100, 16000, 900), pieces)
    np.testing.assert_array_equal(y, resample(x, 44100, 16000)[0])


@pytest.mark.parametrize(("from_rate", "to_rate"), list(itertools.product(DEVICE_RATES, repeat=2)))
def test_every_20_ms_block_gives_20_ms(from_rate: int, to_rate: int) -> None:
    block, expected = from_rate // 50, to_rate // 50
    state = ResamplerState.allocate(from_rate, to_rate, block)
    x, out = noise(block), np.zeros(expected, dtype=np.float32)
    assert [resample_block(x, state, out) for _ in range(100)] == [expected] * 100
    assert state.grid_offset == 0


@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
@pytest.mark.parametrize("half_periods", [16, 26])
def test_delay_is_as_stated(from_rate: int, to_rate: int, half_periods: int) -> None:
    seconds, top_hz = 0.5, 0.7 * min(from_rate, to_rate) / 2

    def chirp(times_s: NDArray[np.float64]) -> NDArray[np.float64]:
        window = np.where(abs(times_s - 0.2) < 0.15, np.cos(np.pi * (times_s - 0.2) / 0.3) ** 2, 0.0)
        return window * np.sin(np.pi * top_hz / 0.4 * times_s**2)

    x = chirp(np.arange(int(from_rate * seconds)) / from_rate).astype(np.float32)
    y, delay = resample(x, from_rate, to_rate, half_periods)
    reference = chirp(np.arange(len(y)) / to_rate)
    cross = np.fft.rfft(y, 2 * len(y)) * np.conj(np.fft.rfft(reference, 2 * len(y)))
    angle = 2 * np.pi * np.arange(len(cross)) / (2 * len(y))
    lags = delay + np.arange(-200, 201) / 100
    correlation = [np.sum(cross * np.exp(1j * angle * lag)).real for lag in lags]
    assert abs(lags[np.argmax(correlation)] - delay) < 0.01


@pytest.mark.parametrize(
    ("from_rate", "to_rate", "delay"), [(48000, 16000, 16), (16000, 48000, 48), (44100, 48000, 16 * 160 / 147)]
)
def test_delay_is_one_millisecond_at_16_khz(from_rate: int, to_rate: int, delay: float) -> None:
    assert ResamplerState.allocate(from_rate, to_rate, 1).delay_samples_out == pytest.approx(delay, rel=1e-12)


@pytest.mark.parametrize("half_periods", [16, 26, 52])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(48000, 16000), (44100, 16000), (48000, 24000), (192000, 8000)])
def test_aliases_are_suppressed(from_rate: int, to_rate: int, half_periods: int) -> None:
    first = stop_band(half_periods) * to_rate / 2
    for frequency in np.linspace(first + 1, from_rate / 2 - 1, 23):
        y, delay = resample(sine(frequency, from_rate), from_rate, to_rate, half_periods)
        settled = y[int(2 * delay) + 1 :]
        assert level_db(settled) < -75, frequency


@pytest.mark.parametrize("half_periods", [16, 26, 52])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(24000, 48000), (40000, 48000), (44100, 48000), (44100, 16000)])
def test_images_are_suppressed(from_rate: int, to_rate: int, half_periods: int) -> None:
    """A sine comes out alone. Its images lie around multiples of the input rate."""
    lower = min(from_rate, to_rate) / 2
    last = min(2.0 - stop_band(half_periods), PASS_BAND) * lower
    for frequency in np.linspace(50, last, 11):
        y, delay = resample(sine(frequency, from_rate), from_rate, to_rate, half_periods)
        _, rest = fit_sine(y[int(2 * delay) + 1 :], frequency, to_rate)
        assert level_db(rest) < -75, frequency


@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_pass_band_is_flat(from_rate: int, to_rate: int) -> None:
    for share in (0.01, 0.5, PASS_BAND):
        frequency = share * min(from_rate, to_rate) / 2
        y, delay = resample(sine(frequency, from_rate), from_rate, to_rate)
        amplitude, _ = fit_sine(y[int(2 * delay) + 1 :], frequency, to_rate)
        assert amplitude == pytest.approx(1.0, abs=5e-4)


@pytest.mark.parametrize(("from_rate", "to_rate"), RATIOS)
def test_a_constant_stays_what_it_is(from_rate: int, to_rate: int) -> None:
    y, delay = resample(np.full(from_rate // 10, 0.5, dtype=np.float32), from_rate, to_rate)
    np.testing.assert_allclose(y[int(2 * delay) + 1 :], 0.5, rtol=0, atol=2e-7)


def test_equal_rates_copy_without_delay() -> None:
    x = noise(1000)
    y, delay = resample(x, 48000, 48000)
    np.testing.assert_array_equal(y, x)
    assert delay == 0


def test_filter_is_linear_in_phase() -> None:
    for up, down in [(160, 441), (6, 5), (1, 3), (160, 147)]:
        taps = prototype(up, down)
        assert len(taps) == 32 * max(up, down) + 1
        np.testing.assert_allclose(taps, taps[::-1], rtol=0, atol=1e-15)


def test_reset_replays_exactly() -> None:
    x = noise(3000)
    state = ResamplerState.allocate(44100, 16000, 700)
    first = stream(x, state, [233])
    address = state.input_mem.ctypes.data
    state.reset()
    np.testing.assert_array_equal(stream(x, state, [311]), first)
    assert state.input_mem.ctypes.data == address


def test_any_memory_layout_is_taken() -> None:
    x = noise(2000)
    frozen = x.copy()
    frozen.flags.writeable = False
    stereo = np.stack((x, np.zeros_like(x)), axis=1)
    expected, _ = resample(x, 48000, 16000)
    for signal in (frozen, stereo[:, 0], x[::-1].copy()[::-1]):
        np.testing.assert_array_equal(resample(signal, 48000, 16000)[0], expected)


def test_nothing_is_allocated_per_call() -> None:
    state = ResamplerState.allocate(44100, 16000, 882)
    x, out = noise(882), np.zeros(320, dtype=np.float32)
    resample_block(x, state, out)
    tracemalloc.start()
    try:
        resample_block(x, state, out)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(1000):
            resample_block(x, state, out)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 512
    assert peak - before < 2048, "views of arrays, but no copy of a block"


@pytest.mark.parametrize(
    ("from_rate", "to_rate", "max_block", "half_periods"),
    [(7999, 16000, 480, 16), (16000, 192001, 480, 16), (16000, 48000, 0, 16), (16000, 48000, 480, 7)],
)
def test_parameters_out_of_range_are_refused(from_rate: int, to_rate: int, max_block: int, half_periods: int) -> None:
    with pytest.raises(ParameterError):
        ResamplerState.allocate(from_rate, to_rate, max_block, half_periods)


@pytest.mark.parametrize(("block", "room"), [(481, 1000), (480, 159)])
def test_a_refused_block_changes_nothing(block: int, room: int) -> None:
    state = ResamplerState.allocate(48000, 16000, 480)
    with pytest.raises(ParameterError):
        resample_block(noise(block), state, np.zeros(room, dtype=np.float32))
    assert state.grid_offset == 0
    assert not state.input_mem.any()
