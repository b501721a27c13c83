"""Whether a voice can be made of some recordings: length, band, clipping, noise, music, several speakers.

All of it is measured on a sample of the utterances, in seconds, before any time is spent on training.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.fft
import soxr
from numpy.typing import NDArray

from ...kernels.types import Float64Array, FloatArray
from ...kernels.world import SAMPLE_RATE
from ...models.neural.features import SAMPLE_RATE as FEATURE_RATE
from .analysis import features_of, track_f0
from .recordings import Recording, as_float, levels_db

LEAST_S = 90.0  # of speech, which two minutes of recordings hold
LEAST_FORCED_S = 15.0
LEAST_RATE = 16000
_MOST_LEFT_OUT = 0.2  # of the speech: where more of it is unfit, all are judged as they are

_SAMPLED = 60  # utterances that are measured, evenly spread
_SAMPLED_S = 6.0  # of each

_CLIPPED = 0.003  # proportion of samples near the ceiling; speech has .0001 to .0006 there
_NARROW_DB = -45.0  # 4.5 to 7 kHz against 0.3 to 3 kHz; speech has -9 to -21 there, a telephone under -60
_WIDE_DB = -50.0  # 8.5 to 11 kHz against 4.5 to 7 kHz; what was resampled from 16 kHz has under -60 there
_LEAST_SNR_DB = 15.0  # by this measure, which shows 17 for noise 15 dB below; quiet rooms have 26 to 45
_LEAST_VOICED = 0.35  # proportion of the loud frames; speech has .6 to .8
_MOST_HELD = 0.2  # proportion of voiced frames within held notes; speech has under .02, singing .7
_HELD_FRAMES = 20
_HELD_OCTAVES = 0.4 / 12.0

_CEPSTRA = slice(1, 15)
_LEAST_VOICED_FRAMES = 40  # of half an utterance that says anything about its speaker
# Of one speaker the groups are 2.6 to 3.8 apart, and the spread is .9 to 1.6; of two 5.6 to 22, of ten or more 2.5.
_LEAST_UTTERANCES = 8
_TWO_SPEAKERS = 4.8
_SEVERAL_SPEAKERS = 2.1


@dataclass(frozen=True, slots=True)
class Finding:
    """What speaks against making a voice of the recordings.

    Attributes:
        message: One sentence with the way out.
        can_force: Whether one may go on in spite of it.
    """

    message: str
    can_force: bool


@dataclass(frozen=True, slots=True)
class Sample:
    """An utterance as it is measured, or its start.

    Attributes:
        mel: Log-mel frames beneath the running level [T, 80].
        f0_hz: 0 where unvoiced [T].
        loud: Whether a frame is within 30 dB of the running level [T].
    """

    mel: FloatArray
    f0_hz: FloatArray
    loud: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Checked:
    """Recordings after the check.

    Attributes:
        recordings: Those to make a voice of.
        cuts: The utterances of each.
        is_wide: Whether they hold what lies above 8 kHz.
        findings: What speaks against a voice made of them; the gravest first.
        remarks: What was left out and why, in sentences.
    """

    recordings: list[Recording]
    cuts: list[Sequence[slice]]
    is_wide: bool
    findings: list[Finding]
    remarks: list[str]


def check(recordings: Sequence[Recording], cuts: Sequence[Sequence[slice]]) -> Checked:
    """Leave out single recordings that are worse than the others, and find out what is wrong with the rest.

    Args:
        recordings: The recordings.
        cuts: The utterances of each.
    """
    spoken = [(recording, of_one) for recording, of_one in zip(recordings, cuts, strict=True) if of_one]
    unfit = [_of_one(recording, of_one) for recording, of_one in spoken]
    remarks = []
    findings = [finding for of_one in unfit for finding in of_one]
    if findings and _share(spoken, map(bool, unfit)) < _MOST_LEFT_OUT:
        remarks += [f"left out: {finding.message}" for finding in findings]
        spoken = [one for one, found in zip(spoken, unfit, strict=True) if not found]
        findings = []
    wide = [_is_wide(recording, of_one) for recording, of_one in spoken]
    narrow = _share(spoken, (not one for one in wide))
    if 0.0 < narrow < _MOST_LEFT_OUT:
        remarks += [
            f"left out: {recording.path} holds nothing above 8 kHz, as the other recordings do"
            for (recording, _), one in zip(spoken, wide, strict=True)
            if not one
        ]
        spoken = [one for one, has_all in zip(spoken, wide, strict=True) if has_all]
    elif 0.0 < narrow < 1.0:
        remarks.append(
            f"the voice will have nothing above 8 kHz, for {100.0 * narrow:.0f} % of the speech is without it"
        )
    left, cuts_left = [recording for recording, _ in spoken], [of_one for _, of_one in spoken]
    short = _short(_seconds(spoken), sum(recording.seconds for recording in recordings))
    if short is None or short.can_force:
        samples = [sample_of(audio) for audio in _spread(left, cuts_left)]
        findings += [finding for finding in (_unclear(samples), _several(samples)) if finding is not None]
        findings = ([short] if short is not None else []) + findings
    else:
        findings = [short]
    findings.sort(key=lambda finding: finding.can_force)
    return Checked(left, cuts_left, narrow < _MOST_LEFT_OUT, findings, remarks)


def _short(speech_s: float, all_s: float) -> Finding | None:
    """Whether there is too little speech."""
    if speech_s >= LEAST_S:
        return None
    said = (
        f"the recordings hold {_clock(speech_s)} of speech in {_clock(all_s)}; a voice takes at least "
        f"{_clock(LEAST_S)} of it, and ten minutes are better: record more"
    )
    return Finding(said, speech_s >= LEAST_FORCED_S)


def _seconds(spoken: Iterable[tuple[Recording, Sequence[slice]]]) -> float:
    samples: int = sum(cut.stop - cut.start for _, of_one in spoken for cut in of_one)
    return samples / SAMPLE_RATE


def _share(spoken: Sequence[tuple[Recording, Sequence[slice]]], chosen: Iterable[bool]) -> float:
    """Proportion of the speech that lies in the chosen recordings."""
    of_chosen = _seconds(one for one, is_chosen in zip(spoken, chosen, strict=True) if is_chosen)
    return of_chosen / max(_seconds(spoken), 1e-9)


def _is_wide(recording: Recording, cuts: Sequence[slice]) -> bool:
    """Whether a recording holds what lies above 8 kHz."""
    spectrum = _spectrum(recording, cuts)
    return recording.rate > LEAST_RATE * 1.3 and _band_db(spectrum, 8500, 11000, 4500, 7000) > _WIDE_DB


def _of_one(recording: Recording, cuts: Sequence[slice]) -> list[Finding]:
    """What is wrong with one recording."""
    path = recording.path
    if recording.rate < LEAST_RATE:
        said = (
            f"{path} has a sample rate of {recording.rate} Hz, so its voice would sound dull; record at 16 kHz or more"
        )
        return [Finding(said, False)]
    if _band_db(_spectrum(recording, cuts), 4500, 7000, 300, 3000) < _NARROW_DB:
        said = f"{path} holds nothing above 4 kHz, like a telephone call, so its voice would sound dull; leave it out"
        return [Finding(said, False)]
    findings = []
    clipped = clipped_share(recording.audio, cuts)
    if clipped > _CLIPPED:
        said = (
            f"{path} is clipped: {100.0 * clipped:.1f} % of its samples are at the ceiling; lower the gain of the "
            "microphone and record again"
        )
        findings.append(Finding(said, True))
    if (snr := snr_db(recording.audio)) < _LEAST_SNR_DB:
        said = (
            f"{path} is noisy: speech is {snr:.1f} dB above the noise, not {_LEAST_SNR_DB:.0f} or more; record in quiet"
        )
        findings.append(Finding(said, True))
    return findings


def clipped_share(audio: NDArray[np.int16], cuts: Sequence[slice]) -> float:
    """Proportion of samples near the ceiling, which is hardly ever reached unless the sound was cut off there."""
    size = np.abs(np.concatenate([audio[cut] for cut in _some(cuts)]).astype(np.int32))
    return float((size > 0.93 * np.percentile(size, 99.99)).mean())


def snr_db(audio: NDArray[np.int16]) -> float:
    """Level of speech above that of the quietest tenth, in dB."""
    level = levels_db(audio)
    power = 10.0 ** (level.astype(np.float64) / 10.0)
    floor = np.percentile(level, 10.0)
    speech = 10.0 * np.log10(power[level >= np.percentile(level, 50.0)].mean())
    return float(speech - floor)


def _unclear(samples: Sequence[Sample]) -> Finding | None:
    """Whether it is music or something else, not speech."""
    voiced = voiced_share(samples)
    if voiced < _LEAST_VOICED:
        said = (
            f"no clear speech is found: {100.0 * voiced:.0f} % of what is loud has a pitch; give recordings of one "
            "person who speaks, without music"
        )
        return Finding(said, voiced > 0.1)
    held = held_share(samples)
    if held > _MOST_HELD:
        said = (
            f"this sounds like music or singing: {100.0 * held:.0f} % of its pitch is held notes; give recordings of "
            "one person who speaks"
        )
        return Finding(said, True)
    return None


def voiced_share(samples: Sequence[Sample]) -> float:
    """Proportion of the loud frames that have a pitch."""
    loud = sum(int(s.loud.sum()) for s in samples)
    return sum(int((s.loud & (s.f0_hz > 0.0)).sum()) for s in samples) / max(loud, 1)


def held_share(samples: Sequence[Sample]) -> float:
    """Proportion of the voiced frames that lie within a stretch of 200 ms without a change of pitch."""
    held = voiced = 0
    for sample in samples:
        pitch = np.where(sample.f0_hz > 0.0, np.log2(np.maximum(sample.f0_hz, 1.0)), np.nan)
        voiced += int((sample.f0_hz > 0.0).sum())
        if len(pitch) < _HELD_FRAMES:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(pitch, _HELD_FRAMES)
        starts = np.flatnonzero(windows.max(axis=1) - windows.min(axis=1) < _HELD_OCTAVES)
        inside = np.zeros(len(pitch), dtype=np.bool_)
        for start in starts:
            inside[start : start + _HELD_FRAMES] = True
        held += int(inside.sum())
    return held / max(voiced, 1)


def _several(samples: Sequence[Sample]) -> Finding | None:
    """Whether more than one person speaks."""
    apart, share, spread = two_speakers(samples)
    if apart < _TWO_SPEAKERS and spread < _SEVERAL_SPEAKERS:
        return None
    who = (
        f"two speakers, one in {100.0 * share:.0f} % of the recordings"
        if apart >= _TWO_SPEAKERS
        else "several speakers"
    )
    return Finding(f"there seem to be {who}, or very different microphones; give the recordings of one person", True)


def two_speakers(samples: Sequence[Sample]) -> tuple[float, float, float]:
    """How far the utterances fall into two groups, the proportion of the smaller one, and how far they are spread.

    What tells speakers apart is the mean cepstrum and the pitch of voiced frames. All is measured in units of how much
    these vary with what is said, which the two halves of an utterance show.
    """
    rows = [pair for sample in samples if (pair := _halves(sample)) is not None]
    if len(rows) < _LEAST_UTTERANCES:
        return 0.0, 0.0, 0.0
    halves = np.stack(rows)  # [utterances, 2, features]
    means = halves.mean(axis=1)
    noise = np.sqrt(np.square(halves[:, 0] - halves[:, 1]).mean(axis=0) / 4.0) + 1e-6
    points = (means - means.mean(axis=0)) / noise
    spread = float(np.sqrt(points.var(axis=0).mean()))
    is_second = _two_means(points)
    share = float(is_second.mean())
    if not 2 <= is_second.sum() <= len(points) - 2:
        return 0.0, min(share, 1.0 - share), spread
    gap = points[is_second].mean(axis=0) - points[~is_second].mean(axis=0)
    along = points @ (gap / np.linalg.norm(gap))
    within = np.sqrt(along[is_second].var() * share + along[~is_second].var() * (1.0 - share))
    distance = abs(along[is_second].mean() - along[~is_second].mean())
    return float(distance / max(within, 1.0)), min(share, 1.0 - share), spread


def _halves(sample: Sample) -> Float64Array | None:
    """Mean cepstrum and median pitch in octaves of the voiced frames of each half [2, features]."""
    at = np.flatnonzero(sample.loud & (sample.f0_hz > 0.0))
    if len(at) < 2 * _LEAST_VOICED_FRAMES:
        return None
    rows = []
    for half in np.array_split(at, 2):
        cepstra = scipy.fft.dct(sample.mel[half].mean(axis=0), norm="ortho")[_CEPSTRA]
        rows.append(np.append(cepstra, np.median(np.log2(sample.f0_hz[half]))))
    return np.stack(rows)


def _two_means(points: Float64Array) -> NDArray[np.bool_]:
    """Which points belong to the second of two groups, begun along the direction in which they vary most."""
    _, _, directions = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    along = points @ directions[0]
    is_second = np.asarray(along > np.median(along))
    for _ in range(20):
        if is_second.all() or not is_second.any():
            break
        centres = points[~is_second].mean(axis=0), points[is_second].mean(axis=0)
        nearer = np.asarray(np.square(points - centres[1]).sum(axis=1) < np.square(points - centres[0]).sum(axis=1))
        if (nearer == is_second).all():
            break
        is_second = nearer
    return is_second


def sample_of(audio: NDArray[np.int16]) -> Sample:
    """Measure the start of an utterance at 24 kHz."""
    start = as_float(audio[: int(_SAMPLED_S * SAMPLE_RATE)])
    at_16k = np.asarray(soxr.resample(start, SAMPLE_RATE, FEATURE_RATE), dtype=np.float32)
    mel, _ = features_of(at_16k)
    f0 = track_f0(at_16k)
    loudness = mel.max(axis=1)
    return Sample(mel, f0, loudness > np.percentile(loudness, 95.0) - 30.0 / 8.686 / 2.5)


def _spread(recordings: Sequence[Recording], cuts: Sequence[Sequence[slice]]) -> list[NDArray[np.int16]]:
    """As many utterances as are measured, from all over the recordings."""
    every = [(r.audio, cut) for r, of_one in zip(recordings, cuts, strict=True) for cut in of_one]
    chosen = np.unique(np.linspace(0, len(every) - 1, min(_SAMPLED, len(every))).astype(np.int64))
    return [every[i][0][every[i][1]] for i in chosen]


def _some(cuts: Sequence[slice]) -> list[slice]:
    return list(cuts[:: max(len(cuts) // 20, 1)])


def _spectrum(recording: Recording, cuts: Sequence[slice]) -> Float64Array:
    """Mean power of the utterances in 513 bins."""
    total = np.zeros(513)
    for cut in _some(cuts):
        audio = as_float(recording.audio[cut])
        frames = audio[: len(audio) // 1024 * 1024].reshape(-1, 1024) * np.hanning(1024).astype(np.float32)
        total += np.square(np.abs(np.fft.rfft(frames))).sum(axis=0)
    return total


def _band_db(power: Float64Array, low: float, high: float, low_beside: float, high_beside: float) -> float:
    """Level per bin of a band in Hz against another, in dB."""
    hz = np.linspace(0.0, SAMPLE_RATE / 2, len(power))
    one = power[(hz >= low) & (hz < high)].mean()
    other = power[(hz >= low_beside) & (hz < high_beside)].mean()
    return float(10.0 * np.log10((one + 1e-12) / (other + 1e-12)))


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
