"""How well pitch trackers do on labelled clips: conditions, counts, thresholds, and labels for human recordings."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ....kernels.errors import AudioFileError, ParameterError
from ....kernels.types import FloatArray
from .corpus import Clip
from .references import HOP, SAMPLE_RATE, Tracker, frame_count

BoolArray = NDArray[np.bool_]

NOISES = ("pink", "white", "babble")
SNRS_DB = (20.0, 10.0, 0.0)
TOLERANCE_CENTS = 50.0
BABBLE_VOICES = 4
# A voice is as loud as its frames of 20 ms that come within this of its loudest; pauses do not count.
_ACTIVE_RANGE_DB = 30.0
_TELEPHONE_HZ = (300.0, 3400.0)


@dataclass(frozen=True, slots=True)
class Condition:
    """What happens to a clip before a tracker hears it.

    Attributes:
        noise: One of `NOISES`, or None.
        snr_db: Signal-to-noise ratio of the active speech; None without noise.
        is_telephone: Whether it goes through 300 to 3400 Hz at 8 kHz.
    """

    noise: str | None = None
    snr_db: float | None = None
    is_telephone: bool = False

    @property
    def name(self) -> str:
        """For tables."""
        if self.is_telephone:
            return "telephone"
        return "clean" if self.noise is None else f"{self.noise} {self.snr_db:g} dB"


CLEAN = Condition()
TELEPHONE = Condition(is_telephone=True)
NOISY_10_DB = Condition("pink", 10.0)
CONDITIONS = (CLEAN, *(Condition(noise, snr) for snr in SNRS_DB for noise in NOISES), TELEPHONE)


@dataclass(slots=True)
class Counts:
    """What a tracker did in the frames whose label is known.

    Attributes:
        voiced: Frames whose label is voiced.
        unvoiced: Frames whose label is unvoiced.
        right_pitch: Voiced frames with an F0 within 50 cents of the label, whatever the tracker says about voicing.
        octave_errors: Voiced frames with an F0 that is within 50 cents only after moving it by whole octaves.
        missed: Voiced frames called unvoiced.
        false_alarms: Unvoiced frames called voiced.
        right: Frames right in voicing and, if voiced, in pitch.
        cents: Histogram of the deviation of the frames in `right_pitch`, in cells of one cent [50].
    """

    voiced: int = 0
    unvoiced: int = 0
    right_pitch: int = 0
    octave_errors: int = 0
    missed: int = 0
    false_alarms: int = 0
    right: int = 0
    cents: NDArray[np.int64] = field(default_factory=lambda: np.zeros(round(TOLERANCE_CENTS), dtype=np.int64))

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in Counts.__slots__))

    @property
    def frames(self) -> int:
        """All frames that were judged."""
        return self.voiced + self.unvoiced

    def percentages(self) -> dict[str, float]:
        """Pitch accuracy, octave errors and misses of the voiced frames; false alarms of the unvoiced; else of all.

        NaN where there is no such frame. Also the median deviation in cents of the frames whose pitch is right.
        """

        def percent(count: int, of: int) -> float:
            return 100.0 * count / of if of else float("nan")

        below = np.cumsum(self.cents)
        return {
            "pitch_accuracy": percent(self.right_pitch, self.voiced),
            "octave_errors": percent(self.octave_errors, self.voiced),
            "median_cents": float(np.searchsorted(below, below[-1] / 2.0) + 0.5) if below[-1] else float("nan"),
            "voicing_error": percent(self.missed + self.false_alarms, self.frames),
            "missed": percent(self.missed, self.voiced),
            "false_alarms": percent(self.false_alarms, self.unvoiced),
            "overall_accuracy": percent(self.right, self.frames),
        }


def count(f0_hz: FloatArray, is_voiced: BoolArray, label_hz: FloatArray, known: BoolArray) -> Counts:
    """Judge a track.

    Args:
        f0_hz: The tracker's F0 [frames], 0 where it names none.
        is_voiced: Voicing decision [frames].
        label_hz: The truth, 0 where unvoiced [frames].
        known: Whether the truth is known [frames].
    """
    f0_hz, is_voiced, label_hz = f0_hz[known], is_voiced[known], label_hz[known]
    voiced = label_hz > 0
    named = voiced & (f0_hz > 0)
    cents = np.full(len(f0_hz), np.inf)
    cents[named] = 1200.0 * np.log2(f0_hz[named].astype(np.float64) / label_hz[named])
    is_near = np.abs(cents) <= TOLERANCE_CENTS
    folded = cents[named] - 1200.0 * np.rint(cents[named] / 1200.0)
    cell = np.minimum(np.abs(cents[is_near]).astype(np.int64), round(TOLERANCE_CENTS) - 1)
    return Counts(
        voiced=int(voiced.sum()),
        unvoiced=int((~voiced).sum()),
        right_pitch=int(is_near.sum()),
        octave_errors=int((np.abs(folded) <= TOLERANCE_CENTS).sum() - is_near.sum()),
        missed=int((voiced & ~is_voiced).sum()),
        false_alarms=int((~voiced & is_voiced).sum()),
        right=int(((voiced & is_voiced & is_near) | (~voiced & ~is_voiced)).sum()),
        cents=np.bincount(cell, minlength=round(TOLERANCE_CENTS)),
    )


def disturbed(clip: Clip, condition: Condition, clips: Sequence[Clip]) -> FloatArray:
    """The clip's audio [N] under a condition; always the same for the same name and condition.

    Args:
        clip: At 16 kHz.
        condition: Noise or filter that is applied.
        clips: Whose voices make up babble, those of the clip's own voice left out.
    """
    if condition.is_telephone:
        return _telephone(clip.audio)
    if condition.noise is None or condition.snr_db is None:
        return clip.audio
    rng = np.random.default_rng(zlib.crc32(f"{clip.name} {condition.name}".encode()))
    return add_noise(clip.audio, make_noise(condition.noise, clip, clips, rng), condition.snr_db)


def make_noise(noise: str, clip: Clip, clips: Sequence[Clip], rng: np.random.Generator) -> FloatArray:
    """Noise as long as the clip.

    Raises:
        ParameterError: babble is wanted and no clip is of another voice.
    """
    samples = len(clip.audio)
    if noise == "white":
        return rng.standard_normal(samples).astype(np.float32)
    if noise == "pink":
        spectrum = np.fft.rfft(rng.standard_normal(samples))
        hz = np.fft.rfftfreq(samples, 1.0 / SAMPLE_RATE)
        return np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 20.0)), samples).astype(np.float32)
    others = [other for other in clips if other.voice != clip.voice]
    if not others:
        raise ParameterError(f"babble for {clip.name} needs clips of other voices than {clip.voice}")
    babble = np.zeros(samples, dtype=np.float32)
    for index in rng.choice(len(others), BABBLE_VOICES):
        audio = others[index].audio
        begin = int(rng.integers(len(audio)))
        talk = np.resize(np.roll(audio, -begin), samples)
        babble += talk / np.float32(np.sqrt(active_power(audio)) + 1e-9)
    return babble


def add_noise(audio: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Audio [N] with noise [N] at a ratio of active speech power to mean noise power; scaled to stay within +-1."""
    wanted = active_power(audio) / 10.0 ** (snr_db / 10.0)
    gain = np.sqrt(wanted / max(float(np.mean(np.square(noise, dtype=np.float64))), 1e-20))
    mixed = audio + np.float32(gain) * noise
    return np.asarray(mixed / max(1.0, float(np.abs(mixed).max(initial=0.0))), dtype=np.float32)


def active_power(audio: FloatArray) -> float:
    """Mean power of the frames of 20 ms that are within 30 dB of the loudest."""
    frames = np.pad(audio.astype(np.float64), (0, -len(audio) % (2 * HOP))).reshape(-1, 2 * HOP)
    power = np.mean(frames**2, axis=1)
    return float(np.mean(power[power >= power.max(initial=0.0) * 10.0 ** (-_ACTIVE_RANGE_DB / 10.0)]))


def _telephone(audio: FloatArray) -> FloatArray:
    """Down to 8 kHz and back, band-limited, with filters that delay nothing."""
    from scipy import signal

    narrow = signal.resample_poly(audio.astype(np.float64), 1, 2)
    band = signal.butter(6, _TELEPHONE_HZ, "bandpass", fs=SAMPLE_RATE / 2, output="sos")
    wide = signal.resample_poly(signal.sosfiltfilt(band, narrow), 2, 1)
    return np.asarray(wide[: len(audio)], dtype=np.float32)


def best_threshold(confidence: FloatArray, is_voiced: BoolArray) -> float:
    """The threshold of confidence above which frames are best called voiced: with the least voicing error.

    Args:
        confidence: [frames].
        is_voiced: The truth [frames].
    """
    order = np.argsort(confidence, kind="stable")
    sorted_confidence = confidence[order]
    # With the first k of them called unvoiced: the voiced ones among them are missed, the unvoiced rest are alarms.
    missed = np.concatenate(([0], np.cumsum(is_voiced[order])))
    alarms = (~is_voiced).sum() - np.concatenate(([0], np.cumsum(~is_voiced[order])))
    # Frames of equal confidence go together, so k is possible only at the end of a run of equals.
    is_possible = np.concatenate(([True], sorted_confidence[1:] > sorted_confidence[:-1], [True]))
    k = int(np.flatnonzero(is_possible)[np.argmin((missed + alarms)[is_possible])])
    if k == 0:
        return float(sorted_confidence[0]) - 1e-6
    upper = sorted_confidence[k] if k < len(order) else sorted_confidence[k - 1]
    return float((np.float64(sorted_confidence[k - 1]) + np.float64(upper)) / 2.0)


def tune(tracker: Tracker, clips: Sequence[Clip], advance: Callable[[], None]) -> float:
    """The tracker's best threshold over the clips, clean and in pink noise at 10 dB.

    Args:
        tracker: Whose threshold.
        clips: Clips of the split for tuning.
        advance: Called after each clip.
    """
    confidences, truths = [], []
    for clip in clips:
        for condition in (CLEAN, NOISY_10_DB):
            _, confidence = tracker.track(disturbed(clip, condition, clips))
            confidences.append(confidence[clip.known])
            truths.append(clip.f0_hz[clip.known] > 0)
        advance()
    return best_threshold(np.concatenate(confidences), np.concatenate(truths))


@dataclass(frozen=True, slots=True)
class Result:
    """What one tracker did under one condition, all clips of a kind together.

    Attributes:
        tracker: Name of the tracker, with the threshold if it has several.
        condition: The condition's name.
        kind: Kind of the clips.
        clips: Number of clips.
        counts: Sums over their frames.
    """

    tracker: str
    condition: str
    kind: str
    clips: int
    counts: Counts


def evaluate(
    tracker: Tracker,
    thresholds: Mapping[str, float],
    clips: Sequence[Clip],
    conditions: Iterable[Condition],
    talkers: Sequence[Clip],
    advance: Callable[[], None],
) -> list[Result]:
    """Judge a tracker.

    Args:
        tracker: Which.
        thresholds: Confidence thresholds by the name of their results.
        clips: Clips to evaluate.
        conditions: Under which.
        talkers: Clips that babble is made of.
        advance: Called after each clip under each condition.
    """
    results = []
    kinds = list(dict.fromkeys(clip.kind for clip in clips))
    for condition in conditions:
        sums = {(name, kind): Counts() for name in thresholds for kind in kinds}
        for clip in clips:
            f0_hz, confidence = tracker.track(disturbed(clip, condition, talkers))
            for name, threshold in thresholds.items():
                sums[name, clip.kind] += count(f0_hz, confidence > threshold, clip.f0_hz, clip.known)
            advance()
        for (name, kind), counts in sums.items():
            own = sum(clip.kind == kind for clip in clips)
            results.append(Result(name, condition.name, kind, own, counts))
    return results


def pooled(results: Iterable[Result], conditions: Sequence[str], kinds: Sequence[str] | None = None) -> Counts:
    """All frames of the results under these conditions and of these kinds; None is all kinds."""
    total = Counts()
    for result in results:
        if result.condition in conditions and (kinds is None or result.kind in kinds):
            total += result.counts
    return total


def consensus(f0_hz: FloatArray, is_voiced: BoolArray) -> tuple[FloatArray, BoolArray]:
    """A label from what several trackers say.

    Args:
        f0_hz: [trackers, frames], 0 where one names none.
        is_voiced: [trackers, frames].

    Returns:
        F0 in Hz [frames], the median of those that agree within 50 cents, 0 where unvoiced; and whether it is known
        [frames]: where at least two thirds of the trackers agree on an F0, or on there being none.
    """
    needed = -(-2 * len(f0_hz) // 3)
    voiced = is_voiced & (f0_hz > 0)
    octaves = np.where(voiced, np.log2(np.maximum(f0_hz, 1e-3)), np.nan).astype(np.float64)
    agree = np.abs(octaves[:, None] - octaves[None]) * 1200.0 <= TOLERANCE_CENTS  # NaN agrees with nobody
    best = agree.sum(axis=1).argmax(axis=0)
    group = agree[best, :, np.arange(f0_hz.shape[1])].T
    is_pitch_known = group.sum(axis=0) >= needed
    label = np.zeros(f0_hz.shape[1], dtype=np.float32)
    chosen = np.where(group, octaves, np.nan)[:, is_pitch_known]
    label[is_pitch_known] = 2.0 ** np.nanmedian(chosen, axis=0)
    return label, is_pitch_known | ((~voiced).sum(axis=0) >= needed)


def read_recording(path: Path) -> FloatArray:
    """Audio at 16 kHz of a recording.

    Raises:
        AudioFileError: it cannot be read or holds too little.
    """
    from ....models.resample import resampled
    from ...convert.reader import open_audio

    with open_audio(path) as source:
        audio = np.concatenate([*resampled(source.blocks(), source.sample_rate, SAMPLE_RATE), np.zeros(0, np.float32)])
    if len(audio) < SAMPLE_RATE // 2:
        raise AudioFileError(f"{path} lasts {len(audio) / SAMPLE_RATE:.2f} s; half a second is the least")
    return np.asarray(audio, dtype=np.float32)


def label_recording(path: Path, trackers: Sequence[tuple[Tracker, float]]) -> Clip:
    """A recording of a voice, labelled by trackers that agree.

    Args:
        path: An audio file.
        trackers: With the threshold of each.
    """
    audio = read_recording(path)
    tracks = [(*tracker.track(audio), threshold) for tracker, threshold in trackers]
    f0_hz = np.stack([f0 for f0, _, _ in tracks])
    is_voiced = np.stack([confidence > threshold for _, confidence, threshold in tracks])
    label, known = consensus(f0_hz, is_voiced)
    assert len(label) == frame_count(len(audio))
    return Clip(path.stem, audio, label, known, path.stem, "human")


def subset(clips: Sequence[Clip], per_kind: int) -> list[Clip]:
    """At most so many clips of each kind, spread over the list."""
    chosen = []
    for kind in dict.fromkeys(clip.kind for clip in clips):
        own = [clip for clip in clips if clip.kind == kind]
        steps = np.linspace(0, len(own) - 1, min(per_kind, len(own)))
        chosen += [own[round(step)] for step in steps]
    return chosen
