"""The test signal is found where it is, to a fraction of a sample, in noise too; and not where it is not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from altervox.realtime.audio.loop_delay import _NotedClock
from altervox.realtime.audio.probe import EVERY_S, TRIES, agreed_ms, find_probe, probe, sweeps

RATE = 48000


def shifted(x: np.ndarray, samples: float) -> np.ndarray:
    """In 0.7 s, later by any number of samples."""
    size = int(EVERY_S * RATE)
    spectrum = np.fft.rfft(x, 4 * size) * np.exp(-2j * np.pi * np.fft.rfftfreq(4 * size) * samples)
    return np.fft.irfft(spectrum, 4 * size)[:size].astype(np.float32)


@pytest.mark.parametrize("delay", [0.0, 1.0, 479.5, 12345.37, 28799.0])
@pytest.mark.parametrize("gain", [1.0, -0.01])
def test_awkward_delays(delay: float, gain: float) -> None:
    found = find_probe(np.float32(gain) * shifted(probe(RATE), delay), probe(RATE))
    assert found is not None
    assert found.position == pytest.approx(delay, abs=0.1)
    assert found.gain == pytest.approx(abs(gain), rel=0.02)
    assert found.correlation > 0.97


@pytest.mark.parametrize("rate", [16000, 44100, 96000])
def test_other_rates(rate: int) -> None:
    heard = np.concatenate([np.zeros(1234), probe(rate), np.zeros(5000)])
    found = find_probe(heard, probe(rate))
    assert found is not None
    assert found.position == pytest.approx(1234, abs=0.05)


def test_noise_as_loud_as_the_signal() -> None:
    rng = np.random.default_rng(0)
    loudness = np.sqrt(np.mean(probe(RATE) ** 2))
    for _ in range(20):
        delay = rng.uniform(0, 28000)
        heard = shifted(probe(RATE), delay)
        found = find_probe(heard + loudness * rng.standard_normal(len(heard)), probe(RATE))
        assert found is not None
        assert found.position == pytest.approx(delay, abs=2.0)


@pytest.mark.parametrize("kind", ["white", "speech band", "hum", "silence", "short"])
def test_nothing_is_found_where_there_is_nothing(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        heard = 0.1 * rng.standard_normal(int(EVERY_S * RATE))
        if kind == "speech band":
            heard = scipy.signal.sosfilt(scipy.signal.butter(4, (300, 5000), "bandpass", fs=RATE, output="sos"), heard)
        elif kind == "hum":
            heard = 0.5 * np.sin(2 * np.pi * 1000.0 * np.arange(len(heard)) / RATE) + 1e-3 * heard
        elif kind == "silence":
            heard[:] = 0.0
        elif kind == "short":
            heard = heard[:100]
        assert find_probe(heard.astype(np.float32), probe(RATE)) is None


def test_a_room_is_no_hindrance() -> None:
    """An echo at -6 dB, 9 ms later, and a microphone that hears little below 200 Hz."""
    heard = shifted(probe(RATE), 5000.0) + 0.5 * shifted(probe(RATE), 5432.0)
    heard = scipy.signal.lfilter(*scipy.signal.butter(1, 200.0, "highpass", fs=RATE), heard)
    found = find_probe(heard.astype(np.float32), probe(RATE))
    assert found is not None
    assert found.position == pytest.approx(5000.0, abs=24)


def test_sweeps_are_probes_in_a_row() -> None:
    step = round(EVERY_S * RATE)
    several = sweeps(RATE)
    assert len(several) == TRIES * step
    for i in range(TRIES):
        assert np.array_equal(several[i * step :][: len(probe(RATE))], probe(RATE))


@pytest.mark.parametrize(
    ("delays", "said"),
    [
        ([40.0, 40.5, 41.0, 40.2, 40.1, 39.9, 40.3], 40.2),
        ([40.0, 40.1, 40.2, 40.3, 300.0, 7.0], 40.15),  # in six of seven heard, two of them by mistake
        ([40.0, 40.1, 40.2], None),  # in too few of seven
        ([10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0], None),
        ([], None),
    ],
)
def test_tries_must_agree(delays: list[float], said: float | None) -> None:
    assert agreed_ms(delays, 7) == (None if said is None else pytest.approx(said))


def test_the_clock_of_a_device_is_the_line_through_its_callbacks() -> None:
    """Late callbacks, a burst at the start that does not count, and a rate that is not quite the nominal one."""
    rng = np.random.default_rng(2)
    clock = _NotedClock.with_room(RATE, 20.0)
    period = 1.0 / (RATE * (1 + 100e-6))
    total = 0
    for i in range(800):
        total += 480
        late = 0.5 if i < 100 else rng.exponential(0.001) + (0.3 if i % 97 == 0 else 0.0)
        clock.tick(5.0 + period * total + late, 480)
    start, slope = clock.line(5.0 + 1.6)
    middle = 250_000
    assert start + slope * middle == pytest.approx(5.0 + period * middle + 0.001, abs=0.0003)
    assert slope == pytest.approx(period, rel=100e-6)
