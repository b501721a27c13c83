"""Aperiodicity of voiced speech by D4C, with its decision on whether a frame is voiced at all ("love train").

The method is Morise's (2016, doi:10.1016/j.specom.2016.09.001) with the constants of WORLD, and it gives what
`pyworld.d4c` gives, in a quarter of the time: all frames of a block are transformed by one call, and the noise that
guards against silence is not drawn anew for every sample. As that noise is the same for every frame, a frame is a
function of its audio and its F0, whatever else is analysed with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .noise import frame_noise
from .types import ComplexArray, Float64Array

_LOWEST_HZ = 47.0  # lower voices are looked at through the windows of this F0
_LOVE_TRAIN_LOWEST_HZ = 40.0
_LOVE_TRAIN_PERIODS = 3.0  # length of its window
_PERIODS = 4.0  # length of the windows of the group delay
_VOICED_SHARE = 0.85  # of the power up to 7.9 kHz that a voiced frame has below 4 kHz
BAND_HZ = 3000.0
_HIGHEST_BAND_HZ = 15000.0
_LEVEL_AT_0_HZ_DB = -60.0
_NUTTALL = (0.355768, 0.487396, 0.144232, 0.012604)
_GUARD_STREAM = 8  # of numbers that nothing else draws
_FRAMES_AT_ONCE = 16  # bounds the memory, and keeps it in the cache
_TINY = 1e-300
_GUARD_RMS = 1e-6
_BLACKMAN = (0.34, 0.5, 0.16)  # windows as polynomials of a cosine
_HANN = (0.5, 0.5, 0.0)


@dataclass(frozen=True)
class _Plan:
    """What depends on the sample rate and on the size of the result only.

    Attributes:
        fft_size: FFT size of the group delay and of WORLD's voicing measure ("love train").
        band_window: Weights of a band of the group delay [odd].
        centres: Bins in the middle of the bands [bands].
        loud_bins: Number of the largest bins in a band's spectrum that do not count as noise.
        guard: Noise at -120 dB, one row per window. It keeps silence from being divided by silence, and makes noise of
            whatever lies below it [4, fft_size].
        axis: Weight of the levels in dB at 0 Hz, in the bands' centres and at Nyquist in each bin [bands + 2, bins].
        love_train_bins: Bins of 100 Hz, 4 kHz and 7.9 kHz, between which the love train compares power.
    """

    fft_size: int
    band_window: Float64Array
    centres: NDArray[np.int64]
    loud_bins: int
    guard: Float64Array
    axis: Float64Array
    love_train_bins: tuple[int, int, int]


@lru_cache
def _plan(sample_rate: int, bins: int, band_hz: float) -> _Plan:
    fft_size = 2 << int(np.log2(4.0 * sample_rate / _LOWEST_HZ + 1.0))
    bands = int(min(_HIGHEST_BAND_HZ, sample_rate / 2.0 - band_hz) / band_hz)
    turns = np.linspace(-np.pi, np.pi, int(band_hz * fft_size / sample_rate) * 2 + 1)
    window = np.sum([weight * np.cos(k * turns) for k, weight in enumerate(_NUTTALL)], axis=0)
    centres = (band_hz * np.arange(1, bands + 1) * fft_size / sample_rate).astype(np.int64)
    knots_hz = np.append(band_hz * np.arange(bands + 1), sample_rate / 2.0)
    bins_hz = np.arange(bins) * (sample_rate / 2.0 / (bins - 1))
    axis = np.stack([np.interp(bins_hz, knots_hz, one) for one in np.eye(bands + 2)])
    guard = _GUARD_RMS * frame_noise(0, _GUARD_STREAM, 0, 4, fft_size).astype(np.float64)
    low, middle, high = (int(np.ceil(hz * fft_size / sample_rate)) for hz in (100.0, 4000.0, 7900.0))
    loud_bins = int(8.0 * fft_size / len(window) + 0.5) + 1
    return _Plan(fft_size, window, centres, loud_bins, guard, axis, (low, middle, high))


@dataclass(slots=True)
class D4CWorkspace:
    """Buffers of `d4c_into`, for up to so many voiced frames at a time.

    Attributes:
        plan: Constants that follow from the sample rate and the size of the result.
        voiced: Indices of the frames at work [frames].
        cosine: Right half of a window's cosine, from its centre on [longest half + 1].
        rows: Windowed audio [frames, 5, fft_size].
        spectra: Spectra of `rows` [frames, 5, fft_size / 2 + 1].
        power: Power of the windows before and after the frames [frames, 2].
        bands: Group delay by band; zero beyond the band's width [frames, bands, fft_size].
        band_spectra: Spectra of `bands` [frames, bands, fft_size / 2 + 1].
        lines: One frame's group delay, its smoothed version, and running sums [5, fft_size / 2 + 1].
        loudest: The largest bins of a band, in rising order [loud bins].
        level_db: Noise level at 0 Hz, in the bands and at Nyquist [bands + 2].
    """

    plan: _Plan
    voiced: NDArray[np.int64]
    cosine: Float64Array
    rows: Float64Array
    spectra: ComplexArray
    power: Float64Array
    bands: Float64Array
    band_spectra: ComplexArray
    lines: Float64Array
    loudest: Float64Array
    level_db: Float64Array

    @classmethod
    def allocate(cls, frames: int, sample_rate: int, bins: int, band_hz: float = BAND_HZ) -> D4CWorkspace:
        """Buffers for audio at `sample_rate` (above 15.8 kHz), results of `bins` bins, and bands of so many Hz."""
        frames, plan = max(min(frames, _FRAMES_AT_ONCE), 1), _plan(sample_rate, bins, band_hz)
        half, bands = plan.fft_size // 2 + 1, len(plan.centres)
        return cls(
            plan=plan,
            voiced=np.zeros(frames, dtype=np.int64),
            cosine=np.zeros(half),
            rows=np.zeros((frames, 5, plan.fft_size)),
            spectra=np.zeros((frames, 5, half), dtype=np.complex128),
            power=np.zeros((frames, 2)),
            bands=np.zeros((frames, bands, plan.fft_size)),
            band_spectra=np.zeros((frames, bands, half), dtype=np.complex128),
            lines=np.zeros((5, half)),
            loudest=np.zeros(plan.loud_bins),
            level_db=np.zeros(bands + 2),
        )


def d4c(audio: Float64Array, f0_hz: Float64Array, times_s: Float64Array, sample_rate: int, bins: int) -> Float64Array:
    """As `d4c_into`, with buffers of its own: returns the aperiodicity [frames, bins]."""
    out = np.empty((len(f0_hz), bins))
    d4c_into(audio, f0_hz, times_s, sample_rate, D4CWorkspace.allocate(len(f0_hz), sample_rate, bins), out)
    return out


def d4c_into(
    audio: Float64Array,
    f0_hz: Float64Array,
    times_s: Float64Array,
    sample_rate: int,
    workspace: D4CWorkspace,
    out: Float64Array,
) -> None:
    """Aperiodicity of frames whose F0 is known.

    A frame reads two and a quarter periods on both sides of its centre; beyond its ends the audio is held.

    Args:
        audio: Mono, contiguous [N].
        f0_hz: [frames], 0 where unvoiced.
        times_s: Centres of the frames [frames].
        sample_rate: Hz, as in the workspace.
        workspace: Buffers.
        out: Filled with the amplitude ratio of noise, 0..1 [frames, bins], bins evenly from 0 Hz to half the sample
            rate; 1 throughout in frames that are unvoiced, or turn out to be.
    """
    w, plan = workspace, workspace.plan
    out[:] = 1.0
    places = len(w.voiced)
    for start in range(0, len(f0_hz), places):
        f0, times = f0_hz[start : start + places], times_s[start : start + places]
        count = _find_voiced(audio, f0, times, sample_rate, w)
        if count == 0:
            continue
        _group_delay_windows(
            audio, f0, times, float(sample_rate), w.voiced[:count], w.cosine, plan.guard, w.rows, w.power
        )
        np.fft.rfft(w.rows[:count], out=w.spectra[:count])
        bins_per_hz = plan.fft_size / sample_rate
        _bands_of_group_delay(
            w.spectra, w.power, f0, bins_per_hz, w.voiced[:count], plan.centres, plan.band_window, w.lines, w.bands
        )
        np.fft.rfft(w.bands[:count], out=w.band_spectra[:count])
        _aperiodicity(w.band_spectra, f0, w.voiced[:count], plan.axis, w.loudest, w.level_db, out[start:])


def voiced_into(
    audio: Float64Array,
    f0_hz: Float64Array,
    times_s: Float64Array,
    sample_rate: int,
    workspace: D4CWorkspace,
    out: Float64Array,
) -> None:
    """The decision of `d4c_into` on voicing alone: fill `out` [frames] with F0, 0 where the frame holds no voice."""
    places = len(workspace.voiced)
    for start in range(0, len(f0_hz), places):
        f0, times = f0_hz[start : start + places], times_s[start : start + places]
        count = _find_voiced(audio, f0, times, sample_rate, workspace)
        _copy_voiced(f0, workspace.voiced[:count], out[start : start + places])


def _find_voiced(
    audio: Float64Array, f0_hz: Float64Array, times_s: Float64Array, sample_rate: int, w: D4CWorkspace
) -> int:
    """Put the indices of the frames that are voiced by the love train into `w.voiced`; returns how many."""
    guard = w.plan.guard[3]
    count = _love_train_windows(audio, f0_hz, times_s, float(sample_rate), w.cosine, guard, w.voiced, w.rows)
    np.fft.rfft(w.rows[:count, 0], out=w.spectra[:count, 0])
    low, middle, high = w.plan.love_train_bins
    return int(_keep_voiced(w.spectra, count, low, middle, high, w.voiced))


@njit(nogil=True, cache=True)
def _copy_voiced(f0_hz: Float64Array, voiced: NDArray[np.int64], out: Float64Array) -> None:
    out[:] = 0.0
    for i in voiced:
        out[i] = f0_hz[i]


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _cut(
    x: Float64Array,
    origin: int,
    half: int,
    cosine: Float64Array,
    shape: tuple[float, float, float],
    guard: Float64Array,
    row: Float64Array,
) -> None:
    """A stretch of audio under a window `a + b cos + c cos^2`, so shifted that it adds up to zero."""
    total = weights = 0.0
    last = len(x) - 1
    a, b, c = shape
    for i in range(2 * half + 1):
        cos = cosine[abs(i - half)]
        weight = a + cos * (b + cos * c)
        row[i] = x[min(max(origin - half + i, 0), last)] * weight + guard[i]
        total += row[i]
        weights += weight
    mean = total / weights
    for i in range(2 * half + 1):
        cos = cosine[abs(i - half)]
        row[i] -= (a + cos * (b + cos * c)) * mean


@njit(nogil=True, cache=True)
def _nearest(sample: float) -> int:
    """Nearest whole sample; what is half-way but for rounding goes up."""
    return int(np.floor(sample + 0.501))


@njit(nogil=True, cache=True)
def _cosine_into(f0: float, half: int, periods: float, sample_rate: float, cosine: Float64Array) -> None:
    """Cosine of which a frame's windows are made, from their centre on."""
    step = 2.0 * np.pi / (periods * sample_rate) * f0
    for i in range(half + 1):
        cosine[i] = np.cos(step * i)


@njit(nogil=True, cache=True)
def _love_train_windows(
    x: Float64Array,
    f0_hz: Float64Array,
    times_s: Float64Array,
    sample_rate: float,
    cosine: Float64Array,
    guard: Float64Array,
    voiced: NDArray[np.int64],
    rows: Float64Array,
) -> int:
    """The stretches that decide on voicing, one per frame with an F0, into `rows[:, 0]`.

    Returns:
        How many; their frames are put into `voiced`.
    """
    count = 0
    for i in range(len(f0_hz)):
        if f0_hz[i] <= 0.0:
            continue
        f0 = max(f0_hz[i], _LOVE_TRAIN_LOWEST_HZ)
        half = int(_LOVE_TRAIN_PERIODS / 2.0 * sample_rate / f0 + 0.5)
        _cosine_into(f0, half, _LOVE_TRAIN_PERIODS, sample_rate, cosine)
        row = rows[count, 0]
        _cut(x, _nearest(times_s[i] * sample_rate), half, cosine, _BLACKMAN, guard, row)
        row[2 * half + 1 :] = 0.0
        voiced[count] = i
        count += 1
    return count


@njit(nogil=True, cache=True)
def _keep_voiced(spectra: ComplexArray, count: int, low: int, middle: int, high: int, voiced: NDArray[np.int64]) -> int:
    """Keep in `voiced` the frames with most of their power where voices have it; returns how many those are."""
    kept = 0
    for i in range(count):
        below = above = 0.0
        for k in range(low + 1, high + 1):
            value = spectra[i, 0, k]
            power = value.real * value.real + value.imag * value.imag
            if k <= middle:
                below += power
            else:
                above += power
        if below > _VOICED_SHARE * (below + above):
            voiced[kept] = voiced[i]
            kept += 1
    return kept


@njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _group_delay_windows(
    x: Float64Array,
    f0_hz: Float64Array,
    times_s: Float64Array,
    sample_rate: float,
    voiced: NDArray[np.int64],
    cosine: Float64Array,
    guard: Float64Array,
    rows: Float64Array,
    power: Float64Array,
) -> None:
    """The stretches a quarter period before and after each frame, each also weighted by time, and the one at it.

    Args:
        x: Audio [N].
        f0_hz: [all frames].
        times_s: Centres of the frames [all frames].
        sample_rate: Hz.
        voiced: The frames wanted [frames].
        cosine: Scratch.
        guard: See `_Plan`.
        rows: Filled [frames, 5, fft_size].
        power: Filled with that of the first two stretches [frames, 2].
    """
    for j in range(len(voiced)):
        time_s, f0 = times_s[voiced[j]], max(f0_hz[voiced[j]], _LOWEST_HZ)
        half = int(_PERIODS / 2.0 * sample_rate / f0 + 0.5)
        _cosine_into(f0, half, _PERIODS, sample_rate, cosine)
        for side in range(2):
            origin = _nearest((time_s + (side - 0.5) * 0.5 / f0) * sample_rate)
            plain, timed = rows[j, 2 * side], rows[j, 2 * side + 1]
            _cut(x, origin, half, cosine, _BLACKMAN, guard[side], plain)
            total = 0.0
            for n in range(2 * half + 1):
                timed[n] = plain[n] * (n + 1.0)
                total += plain[n] * plain[n]
            power[j, side] = total
        _cut(x, _nearest(time_s * sample_rate), half, cosine, _HANN, guard[2], rows[j, 4])
        for row in range(5):
            rows[j, row, 2 * half + 1 :] = 0.0


@njit(nogil=True, cache=True)
def _bands_of_group_delay(
    spectra: ComplexArray,
    power: Float64Array,
    f0_hz: Float64Array,
    bins_per_hz: float,
    voiced: NDArray[np.int64],
    centres: NDArray[np.int64],
    band_window: Float64Array,
    lines: Float64Array,
    bands: Float64Array,
) -> None:
    """Stretches of the group delay of each frame, freed of what changes more slowly than from harmonic to harmonic.

    Args:
        spectra: Spectra of the windows of `_group_delay_windows` [frames, 5, bins].
        power: From there [frames, 2].
        f0_hz: [all frames].
        bins_per_hz: Bins per Hz of the spectra.
        voiced: The frames wanted [frames].
        centres: Centres of the bands, in bins [bands].
        band_window: Their weights [odd].
        lines: Scratch [5, bins].
        bands: Filled up to the length of the weights [frames, bands, fft_size].
    """
    bins = spectra.shape[2]
    delay, smooth = lines[0], lines[1]
    sums = lines[2:].reshape(3 * bins)
    half = len(band_window) // 2
    for i in range(len(voiced)):
        f0_bins = max(f0_hz[voiced[i]], _LOWEST_HZ) * bins_per_hz
        before, before_timed, after, after_timed, middle = spectra[i]
        early, late = 1.0 / max(power[i, 0], _TINY), 1.0 / max(power[i, 1], _TINY)
        for k in range(bins):
            delay[k] = early * (before[k].real * before_timed[k].real + before[k].imag * before_timed[k].imag)
            delay[k] += late * (after[k].real * after_timed[k].real + after[k].imag * after_timed[k].imag)
            smooth[k] = middle[k].real * middle[k].real + middle[k].imag * middle[k].imag
        _mirror_below_f0(delay, f0_bins, sums)
        _mirror_below_f0(smooth, f0_bins, sums)
        _smooth(smooth, f0_bins, sums, smooth)
        for k in range(bins):
            delay[k] /= max(smooth[k], _TINY)
        _smooth(delay, f0_bins / 2.0, sums, delay)
        _smooth(delay, f0_bins, sums, smooth)
        for b in range(len(centres)):
            for n in range(len(band_window)):
                k = centres[b] - half + n
                bands[i, b, n] = (delay[k] - smooth[k]) * band_window[n]


@njit(nogil=True, cache=True)
def _mirror_below_f0(spectrum: Float64Array, f0_bins: float, scratch: Float64Array) -> None:
    """Mirror the bins below F0 about half of F0 and add that: a voice has only half of a peak at 0 Hz."""
    count = int(f0_bins) + 1
    for k in range(count):
        position = f0_bins - k
        low = int(position)
        scratch[k] = spectrum[low] + (spectrum[low + 1] - spectrum[low]) * (position - low)
    for k in range(count):
        spectrum[k] += scratch[k]


@njit(nogil=True, cache=True)
def _smooth(spectrum: Float64Array, width_bins: float, sums: Float64Array, out: Float64Array) -> None:
    """Mean over a width around each bin, the spectrum being mirrored at both ends. `out` may be `spectrum`."""
    last = len(spectrum) - 1
    reach = int(width_bins) + 1
    total = 0.0
    for k in range(reach):
        total += spectrum[reach - k]
        sums[k] = total
    for k in range(last + 1):
        total += spectrum[k]
        sums[reach + k] = total
    for k in range(1, reach + 1):
        total += spectrum[last - k]
        sums[reach + last + k] = total
    start = reach - 0.5 - width_bins / 2.0
    low, high = int(start), int(start + width_bins)
    low_share, high_share = start - low, start + width_bins - high
    for k in range(last + 1):
        upper = sums[high + k] + (sums[high + k + 1] - sums[high + k]) * high_share
        lower = sums[low + k] + (sums[low + k + 1] - sums[low + k]) * low_share
        out[k] = (upper - lower) / width_bins


@njit(nogil=True, cache=True)
def _aperiodicity(
    spectra: ComplexArray,
    f0_hz: Float64Array,
    voiced: NDArray[np.int64],
    axis: Float64Array,
    loudest: Float64Array,
    level_db: Float64Array,
    out: Float64Array,
) -> None:
    """Amplitude ratio of noise: the power of each band that is left without its loudest bins, the harmonics.

    Args:
        spectra: Spectra of the bands [frames, bands, bins].
        f0_hz: [all frames].
        voiced: The frames wanted [frames].
        axis: See `_Plan`.
        loudest: Scratch [how many bins to leave out].
        level_db: Scratch [bands + 2].
        out: Rows of the frames wanted are filled [all frames, result bins].
    """
    bands = spectra.shape[1]
    level_db[0] = _LEVEL_AT_0_HZ_DB
    level_db[bands + 1] = 0.0  # at Nyquist all is noise
    for i in range(len(voiced)):
        f0 = max(f0_hz[voiced[i]], _LOWEST_HZ)
        for b in range(bands):
            loudest[:] = 0.0  # in rising order
            total = 0.0
            for value in spectra[i, b]:
                power = value.real * value.real + value.imag * value.imag
                total += power
                if power > loudest[0]:
                    k = 1
                    while k < len(loudest) and loudest[k] < power:
                        loudest[k - 1] = loudest[k]
                        k += 1
                    loudest[k - 1] = power
            ratio = max(total - loudest.sum(), _TINY) / max(total, _TINY)
            # High voices have few harmonics in a band, which leaves too little of them out.
            level_db[b + 1] = min(10.0 * np.log10(ratio) + (f0 - 100.0) / 50.0, 0.0)
        for k in range(out.shape[1]):
            level = 0.0
            for b in range(bands + 2):
                level += level_db[b] * axis[b, k]
            out[voiced[i], k] = np.exp(level * (np.log(10.0) / 20.0))
