"""The pitch network that ships as a stream: backends, agreement with the whole signal, and sound that is no speech."""

from __future__ import annotations

import sys

import bad_pitch_input as bad
import numpy as np
import pytest
import scipy.signal
import torch
from altervox.kernels.errors import ParameterError
from altervox.kernels.world import analyse
from altervox.models.base_models import small_pitch_network
from altervox.models.dsp.presets import DspPreset
from altervox.realtime import StreamConfig
from altervox.realtime.runners.eager import EagerRunner
from altervox.realtime.runners.onnx import OnnxRunner
from altervox.realtime.stages.dsp import DspStage
from altervox.realtime.stages.features import MAX_PITCH_RIGHT_FRAMES
from altervox.realtime.stages.pitch import MOST_EARLY_SAMPLES, StreamingRMVPE, streaming_pitch
from altervox.realtime.state import restore, snapshot

CPU = torch.device("cpu")
HOP = 160


def pushed(tracker: StreamingRMVPE, audio: np.ndarray, size: int = 320) -> np.ndarray:
    """F0 of all frames of the audio, which silence follows."""
    after = np.zeros((tracker.latency_frames + tracker.block_frames + 1) * HOP, dtype=np.float32)
    audio, frames = np.concatenate((audio, after)), len(audio) // HOP + 1
    parts = [tracker.push(audio[start : start + size]) for start in range(0, len(audio), size)]
    return np.concatenate(parts)[:frames]


def harmonics(cycles: np.ndarray) -> np.ndarray:
    """A sawtooth of 24 harmonics whose phase is given in cycles."""
    k = np.arange(1, 25)[:, None]
    return np.asarray(0.05 * (np.sin(2 * np.pi * k * cycles) / k).sum(axis=0), dtype=np.float32)


def whole(audio: np.ndarray) -> np.ndarray:
    model = small_pitch_network(CPU)
    return model.f0(audio)


def test_onnx_runtime_is_taken_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(streaming_pitch(None, 2, 0, CPU).runner, OnnxRunner)
    assert isinstance(streaming_pitch(None, 2, 0, CPU, "eager").runner, EagerRunner)
    assert isinstance(streaming_pitch(small_pitch_network(CPU), 2, 0, CPU).runner, EagerRunner), "no graph is known"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(streaming_pitch(None, 2, 0, CPU).runner, EagerRunner)
    with pytest.raises(ParameterError, match="install onnxruntime"):
        streaming_pitch(None, 2, 0, CPU, "onnx")
    with pytest.raises(ParameterError, match="backend eager"):
        streaming_pitch(None, 2, 0, CPU, "cuda-graph")


@pytest.mark.parametrize(("block", "right"), [(2, 0), (2, 2), (10, 2), (40, 0)])
def test_backends_find_the_same_pitch(block: int, right: int) -> None:
    audio = bad.man()
    eager, onnx = (pushed(streaming_pitch(None, block, right, CPU, name), audio) for name in ("eager", "onnx"))
    assert len(eager) == len(audio) // HOP + 1
    np.testing.assert_array_equal(eager > 0, onnx > 0)
    np.testing.assert_allclose(onnx, eager, rtol=1e-4)


def test_in_onnx_runtime_pieces_make_no_difference_and_state_replays() -> None:
    audio = bad.man()[:48000]
    tracker = streaming_pitch(None, 2, 0, CPU, "onnx")
    expected = tracker.push(audio)
    tracker.reset()
    begun = np.concatenate([tracker.push(audio[start : start + 777]) for start in range(0, 30 * 777, 777)])
    saved = snapshot(tracker.state)
    rest = tracker.push(audio[30 * 777 :])
    np.testing.assert_array_equal(np.concatenate((begun, rest)), expected)
    restore(tracker.state, saved)
    np.testing.assert_array_equal(tracker.push(audio[30 * 777 :]), rest)


@pytest.mark.parametrize("early", [1, 110, MOST_EARLY_SAMPLES])
def test_early_steps_give_the_same_frames_sooner(early: int) -> None:
    """The same steps on the same frames, each as soon as a block is short of its end by so many samples."""
    audio = bad.woman()[:32000]
    usual, soon = (StreamingRMVPE(small_pitch_network(CPU), 2, 1, early_samples=n) for n in (0, early))
    expected = usual.push(audio)
    np.testing.assert_array_equal(soon.push(audio[: len(audio) - early]), expected)
    with pytest.raises(ParameterError, match="early_samples"):
        StreamingRMVPE(small_pitch_network(CPU), 2, 1, early_samples=MOST_EARLY_SAMPLES + 1)


@pytest.mark.parametrize("speaker", ["man", "woman"])
def test_a_stream_finds_what_the_whole_signal_has(speaker: str) -> None:
    """Without right context: a few frames differ, most of them at the ends of voiced stretches."""
    audio = getattr(bad, speaker)()
    streamed, expected = pushed(streaming_pitch(None, 2, 0, CPU), audio), whole(audio)
    assert np.mean((streamed > 0) != (expected > 0)) < 0.12
    both = (streamed > 0) & (expected > 0)
    cents = np.abs(1200.0 * np.log2(streamed[both] / expected[both]))
    assert np.median(cents) < 10.0
    assert np.mean(cents > 50.0) < 0.12


@pytest.mark.parametrize("name", bad.NO_VOICE)
def test_what_is_no_voice_has_no_pitch(name: str) -> None:
    """As RVC voices hear it. Loud noise is the hardest: the stream sees less of it than the whole signal's network."""
    found = pushed(streaming_pitch(None, 2, MAX_PITCH_RIGHT_FRAMES, CPU), bad.NO_VOICE[name]())
    assert np.mean(found > 0) <= (0.05 if name == "noise at -6 dB" else 0.02)


@pytest.mark.parametrize("name", bad.NO_VOICE)
def test_dsp_voices_hear_no_voice_where_there_is_none(name: str) -> None:
    """Without right context the network alone takes up to a quarter of loud noise for a voice; D4C does not."""
    audio = scipy.signal.resample_poly(bad.NO_VOICE[name](), 3, 2).astype(np.float32)
    stage = DspStage(DspPreset(), StreamConfig(block_ms=20))
    found = np.concatenate([stage.take(audio[i : i + 480]).copy() for i in range(0, len(audio) - 479, 480)])
    found = found[stage.lookahead_frames :]
    assert np.mean(analyse(audio, found, 0).f0_hz > 0) <= 0.01


@pytest.mark.parametrize("name", bad.OTHERS)
def test_whatever_comes_in_f0_is_a_number_in_range(name: str) -> None:
    found = pushed(streaming_pitch(None, 2, 0, CPU), bad.OTHERS[name]())
    assert np.isfinite(found).all()
    voiced = found[found != 0]
    assert ((voiced >= 30.0) & (voiced <= 1200.0)).all(), (voiced.min(), voiced.max())


@pytest.mark.parametrize("block_ms", [20, 40, 100])
@pytest.mark.parametrize("right", [0, 2])
def test_a_dsp_stage_puts_f0_on_its_frames(block_ms: int, right: int) -> None:
    """A glide of an octave in 2 s: a frame of 5 ms too early or late would be 3 cents on all of them."""
    rate = 24000
    t = np.arange(3 * rate) / rate
    glide_hz = 110.0 * 2.0 ** (t / 2.0)
    cycles = np.cumsum(glide_hz) / rate
    audio = harmonics(cycles)
    stage = DspStage(DspPreset(), StreamConfig(block_ms=block_ms), pitch_right_frames=right)
    size = stage.block_frames * 120
    found = np.concatenate([stage.take(audio[i : i + size]).copy() for i in range(0, len(audio) - size + 1, size)])
    found = found[stage.lookahead_frames :][40:500]
    true_hz = glide_hz[::120][40:500]
    assert np.mean(found > 0) > 0.99
    cents = 1200.0 * np.log2(found[found > 0] / true_hz[found > 0])
    assert abs(np.median(cents)) < 1.0
    assert np.percentile(np.abs(cents), 95) < 5.0


def test_a_dsp_stage_knows_the_streams_first_frames() -> None:
    """What lies before the stream is unvoiced; the first frames in it have their F0."""
    rate = 24000
    t = np.arange(rate) / rate
    audio = harmonics(150.0 * t)
    stage = DspStage(DspPreset(), StreamConfig(block_ms=20))
    found = np.concatenate([stage.take(audio[i : i + 480]).copy() for i in range(0, rate, 480)])
    assert not found[: stage.lookahead_frames - 1].any()
    np.testing.assert_allclose(found[stage.lookahead_frames + 10 :], 150.0, rtol=3e-3)
