"""What RNNoise takes and leaves, and what the gates pass, on recordings with noise added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import scipy.signal
from numpy.typing import NDArray

from ....kernels.errors import AudioFileError
from ....kernels.gain import linear
from ....kernels.gate import GateState, SpeechGateState, gate_gain_into, speech_gate_gain_into
from ....kernels.types import FloatArray
from ....realtime.session.chain import LOOK_BACK_MS
from ....realtime.session.denoise import FRAME, LATENCY_SAMPLES, SAMPLE_RATE, NoiseSuppressor
from ...convert.reader import open_audio

_SPEECH_DB = -24.0  # RMS of each recording
_PAUSE_S = 3.0  # before each recording
_REPEATS = 2
_SOFTEST_DB = -20.0  # speech below its own RMS by more is not counted
_LEVEL_GATES_DB = (-50.0, -40.0, -30.0)
_DSP_VOICE_MS = 38  # its delay, by which the gate can look back
_SPEECH_GATES = ((0.5, _DSP_VOICE_MS), (0.9, _DSP_VOICE_MS), (0.8, 0), (0.8, _DSP_VOICE_MS), (0.8, LOOK_BACK_MS))


@dataclass(frozen=True, slots=True)
class _Scene:
    """Recordings with pauses between them.

    Attributes:
        samples: Clean [N].
        is_pause: Whether each sample lies in a pause [N].
        is_speech: Whether each frame of 10 ms is speech [N / 480].
    """

    samples: FloatArray
    is_pause: NDArray[np.bool_]
    is_speech: NDArray[np.bool_]


def bench_noise(recordings: Sequence[Path]) -> int:
    """Print the Markdown tables for clean recordings of speech. Returns the exit code.

    Raises:
        AudioFileError: one cannot be read, or holds nothing.
        MissingDependencyError: RNNoise is not installed.
    """
    scene = _scene([_recording(path) for path in recordings])
    rng = np.random.default_rng(0)
    samples = len(scene.samples)
    pink, typing = _pink(samples, rng), _typing(samples, rng)
    noises = {
        "none": np.zeros(samples, dtype=np.float32),
        "pink, SNR 10 dB": pink * linear(_SPEECH_DB - 10.0),
        "pink, SNR 0 dB": pink * linear(_SPEECH_DB),
        "typing, peaks at -20 dB": typing * linear(-20.0),
        "typing, peaks at -10 dB": typing * linear(-10.0),
        "typing, -20 dB, and pink, SNR 20 dB": typing * linear(-20.0) + pink * linear(_SPEECH_DB - 20.0),
    }
    names = ", ".join(path.name for path in recordings)
    click.echo(f"{names}, at {_SPEECH_DB:g} dB RMS, {_PAUSE_S:g} s of pause between, {samples / SAMPLE_RATE:.0f} s\n")
    heard = {name: _through_rnnoise(scene.samples + noise) for name, noise in noises.items()}
    _print_suppression(scene, noises, {name: cleaned for name, (cleaned, _) in heard.items()})
    _print_gates(scene, noises, {name: probability for name, (_, probability) in heard.items()})
    return 0


def _print_suppression(scene: _Scene, noises: dict[str, FloatArray], cleaned: dict[str, FloatArray]) -> None:
    clean, spoken = _highpassed(scene.samples)[:-LATENCY_SAMPLES], ~scene.is_pause[:-LATENCY_SAMPLES]
    similarity = scipy.signal.correlate(cleaned["none"], scene.samples, method="fft")
    delay_ms = 1000.0 * (int(np.argmax(similarity)) - len(scene.samples) + 1) / SAMPLE_RATE
    click.echo(f"RNNoise: delay {delay_ms:.2f} ms; all in dB\n")
    click.echo("| noise | SI-SDR before | after | speech | noise in pauses |\n| --- | --- | --- | --- | --- |")
    for name, noise in noises.items():
        before, after = _highpassed(scene.samples + noise)[:-LATENCY_SAMPLES], cleaned[name][LATENCY_SAMPLES:]
        quieter = f"{_db(after[~spoken]) - _db(before[~spoken]):.0f}" if noise.any() else "-"
        ratio = f"{_si_sdr_db(before[spoken], clean[spoken]):.1f}" if noise.any() else "-"
        scale = 20.0 * np.log10(_projection(after[spoken], clean[spoken]))
        click.echo(f"| {name} | {ratio} | {_si_sdr_db(after[spoken], clean[spoken]):.1f} | {scale:+.1f} | {quieter} |")
    click.echo()


def _print_gates(scene: _Scene, noises: dict[str, FloatArray], probabilities: dict[str, FloatArray]) -> None:
    heads = [f"level {level_db:g} dB" for level_db in _LEVEL_GATES_DB]
    heads += [f"speech {threshold:g}, {look_back_ms} ms" for threshold, look_back_ms in _SPEECH_GATES]
    click.echo("Gates, and by how much they look back: speech lost / pauses passed, %\n")
    click.echo(f"| noise | {' | '.join(heads)} |\n|{' --- |' * (len(heads) + 1)}")
    for name, noise in noises.items():
        gains = [_level_gate(scene.samples + noise, level_db) for level_db in _LEVEL_GATES_DB]
        gains += [_speech_gate(probabilities[name], *gate) for gate in _SPEECH_GATES]
        cells = [f"{100 * lost:.1f} / {100 * passed:.0f}" for lost, passed in (_shares(scene, gain) for gain in gains)]
        click.echo(f"| {name} | {' | '.join(cells)} |")


def _shares(scene: _Scene, gain: FloatArray) -> tuple[float, float]:
    """Proportion of speech frames that a gate's gains [N] silence, and of pause frames that they pass."""
    is_open = gain.reshape(-1, FRAME).mean(axis=1) >= 0.5
    return float(np.mean(~is_open[scene.is_speech])), float(np.mean(is_open[scene.is_pause[::FRAME]]))


def _si_sdr_db(x: FloatArray, clean: FloatArray) -> float:
    """Scale-invariant signal-to-distortion ratio (Le Roux et al. 2019, arXiv:1811.02508)."""
    kept = _projection(x, clean) * clean.astype(np.float64)
    return float(10.0 * np.log10(np.sum(kept**2) / max(float(np.sum((x - kept) ** 2)), 1e-12)))


def _projection(x: FloatArray, clean: FloatArray) -> float:
    wanted = clean.astype(np.float64)
    return float(np.dot(x, wanted) / np.dot(wanted, wanted))


def _highpassed(x: FloatArray) -> FloatArray:
    """What RNNoise's own input filter makes of a signal (`denoise.c`): its phase would count as distortion."""
    return np.asarray(scipy.signal.lfilter([1.0, -2.0, 1.0], [1.0, -1.99599, 0.99600], x), dtype=np.float32)


def _recording(path: Path) -> FloatArray:
    """Whole frames at 48000 Hz, at `_SPEECH_DB`."""
    from ....models.resample import resampled

    with open_audio(path) as source:
        samples = np.concatenate([*resampled(source.blocks(), source.sample_rate, SAMPLE_RATE), np.zeros(0)])
    samples = samples[: len(samples) // FRAME * FRAME].astype(np.float32)
    if not samples.any():
        raise AudioFileError(f"{path} holds no sound")
    samples *= linear(_SPEECH_DB - _db(samples))
    return samples


def _scene(recordings: Sequence[FloatArray]) -> _Scene:
    pause = np.zeros(int(_PAUSE_S * SAMPLE_RATE), dtype=np.float32)
    parts = [part for recording in recordings for part in (pause, recording)] * _REPEATS
    samples = np.concatenate(parts)
    is_pause = np.concatenate([np.full(len(part), part is pause) for part in parts])
    power = np.mean(samples.reshape(-1, FRAME).astype(np.float64) ** 2, axis=1)
    return _Scene(samples, is_pause, power > 10.0 ** ((_SPEECH_DB + _SOFTEST_DB) / 10.0))


def _pink(samples: int, rng: np.random.Generator) -> FloatArray:
    """Noise of equal power in every octave from 40 Hz on, RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    hz = np.fft.rfftfreq(samples, 1.0 / SAMPLE_RATE)
    spectrum *= (hz >= 40.0) / np.sqrt(np.maximum(hz, 1.0))
    noise = np.fft.irfft(spectrum, samples)
    return np.asarray(noise / np.sqrt(np.mean(noise**2)), dtype=np.float32)


def _typing(samples: int, rng: np.random.Generator) -> FloatArray:
    """About six keys a second, each a burst down and a softer one up, peaks up to 1."""
    times = np.arange(SAMPLE_RATE // 25) / SAMPLE_RATE
    out = np.zeros(samples + SAMPLE_RATE)
    at_s = 0.1
    while at_s < samples / SAMPLE_RATE:
        for delay_s, height in ((0.0, 1.0), (rng.uniform(0.06, 0.11), 0.5)):
            burst = rng.standard_normal(len(times)) * np.exp(-times / 0.004)
            burst += 0.5 * np.sin(2 * np.pi * rng.uniform(200, 450) * times) * np.exp(-times / 0.012)
            burst += 0.4 * np.sin(2 * np.pi * rng.uniform(2000, 4000) * times) * np.exp(-times / 0.005)
            start = int((at_s + delay_s) * SAMPLE_RATE)
            out[start : start + len(times)] += height * rng.uniform(0.5, 1.0) * burst / np.abs(burst).max()
        at_s += rng.uniform(0.09, 0.25)
    return out[:samples].astype(np.float32)


def _through_rnnoise(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What it makes of a signal, and its probability of speech in each frame."""
    cleaned, probability = x.copy(), np.zeros(len(x) // FRAME, dtype=np.float32)
    suppressor = NoiseSuppressor()
    suppressor.process(cleaned, probability)
    return cleaned, probability


def _level_gate(x: FloatArray, threshold_db: float) -> FloatArray:
    gain = np.empty_like(x)
    gate_gain_into(x, GateState.allocate(SAMPLE_RATE), threshold_db, gain)
    return gain


def _speech_gate(probability: FloatArray, threshold: float, look_back_ms: int) -> FloatArray:
    """Gains as they meet the output of a voice whose delay is `look_back_ms`, on the input's time."""
    gain = np.empty(len(probability) * FRAME, dtype=np.float32)
    speech_gate_gain_into(probability, SpeechGateState(SAMPLE_RATE), threshold, gain)
    early = look_back_ms * SAMPLE_RATE // 1000
    return np.concatenate((gain[early:], np.full(early, gain[-1])))


def _db(x: FloatArray) -> float:
    return float(10.0 * np.log10(max(float(np.mean(x.astype(np.float64) ** 2)), 1e-12)))
