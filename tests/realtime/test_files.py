"""Files through the engine: length, alignment, pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from altervox.models import load_voice
from altervox.models.voice import rescaled_length
from altervox.realtime import Engine, StreamConfig
from altervox.realtime.files import LIVE, OFFLINE, convert_stream, output_rate, through_engine

DATA = Path(__file__).parents[1] / "data"


@pytest.mark.parametrize("length", [0, 1, 319, 320, 321, 5000, 16007])
@pytest.mark.parametrize("name", ["robot", "off"])
def test_as_much_comes_out_as_goes_in(name: str, length: int) -> None:
    engine = Engine(load_voice(name), StreamConfig(sample_rate=16000, block_ms=20))
    audio = 0.1 * np.sin(np.arange(length, dtype=np.float32) * 0.1)
    out = list(through_engine(engine, [audio[:100], audio[100:]]))
    assert sum(map(len, out)) == length
    if name == "off" and length:
        np.testing.assert_array_equal(np.concatenate(out), audio)


def test_pieces_make_no_difference() -> None:
    audio = soundfile.read(DATA / "librivox_male.wav", dtype="float32")[0][:20000]
    outputs = []
    for size in (20000, 333):
        engine = Engine(load_voice("woman"), StreamConfig(sample_rate=16000, block_ms=20))
        pieces = (audio[i : i + size] for i in range(0, len(audio), size))
        outputs.append(np.concatenate(list(through_engine(engine, pieces))))
    np.testing.assert_array_equal(outputs[0], outputs[1])


@pytest.mark.parametrize(
    ("rate", "config"),
    [
        (3000, StreamConfig(block_ms=20)),
        (11025, LIVE),
        (16000, OFFLINE),
        (44100, OFFLINE),
        (384000, StreamConfig(block_ms=20)),
    ],
)
def test_a_converted_stream_keeps_time(rate: int, config: StreamConfig) -> None:
    """Bursts of a vowel stay where they are, to 5 ms."""
    t = np.arange(2 * rate) / rate
    vowel = sum((np.sin(2 * np.pi * 130 * k * t) / k for k in range(1, 9)), np.zeros(len(t))) * 0.1
    audio = vowel * (np.sin(2 * np.pi * 1.5 * t) > 0)
    voice = load_voice("robot")
    out_rate = output_rate(voice, rate)
    out = np.concatenate(list(convert_stream(voice, np.array_split(audio, 7), rate, config=config)))
    assert len(out) == rescaled_length(len(audio), rate, out_rate)

    def level(x: np.ndarray, sample_rate: int) -> np.ndarray:
        power = np.cumsum(np.concatenate(([0.0], x.astype(np.float64) ** 2)))
        edges = np.arange(0, 2000) * sample_rate // 1000
        return np.asarray(np.sqrt(np.diff(power[edges]).clip(0)))

    a, b = level(audio, rate), level(out, out_rate)
    smooth = np.ones(20) / 20
    a, b = np.convolve(a, smooth, "same"), np.convolve(b, smooth, "same")
    lag = np.correlate(b - b.mean(), a - a.mean(), "full").argmax() - (len(a) - 1)
    assert abs(lag) <= 5
