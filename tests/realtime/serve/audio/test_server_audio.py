"""Audio sessions on real sockets, with real workers and voices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from altervox.realtime.serve.audio.frames import LAST
from altervox.realtime.synthetic import speech_like
from audio_client import AudioClient, directly
from remote_sockets import Served, serving

RATE = 48000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served"), audio_workers=2) as found:
        yield found


def speech(seconds: float, rate: int = RATE) -> np.ndarray:
    return speech_like(seconds + 0.1, rate).astype(np.float32)[: int(seconds * rate)]


@pytest.mark.parametrize(
    ("voice", "rate", "block_ms"), [("robot", 48000, 20), ("woman", 44100, 40), ("man", 16000, 20)]
)
def test_a_session_gives_what_the_voice_gives(served: Served, voice: str, rate: int, block_ms: int) -> None:
    x = speech(0.73, rate)
    options = {"rate": rate, "format": "f32", "voice": voice, "block_ms": block_ms, "pitch": 1.5, "pace": "fast"}
    with AudioClient(served.client(), **options) as audio:
        audio.send_all(x, 777)
        audio.receive(len(x))
        assert audio.frames[-1].flags & LAST
        assert [frame.seq for frame in audio.frames] == list(range(len(audio.frames)))
        np.testing.assert_array_equal(audio.output(), directly(x, rate, voice, block_ms, pitch_semitones=1.5))


def test_samples_of_16_bits_are_rounded_once(served: Served) -> None:
    x = np.rint(speech(0.5) * 32768.0).astype(np.float32) / 32768.0
    with AudioClient(served.client(), rate=RATE, voice="man", pace="fast") as audio:
        audio.send_all(x)
        audio.receive(len(x))
        np.testing.assert_allclose(audio.output(), directly(x, RATE, "man"), atol=0.5 / 32768)
