"""How much a sound changes at some positions: in value, in slope and in spectrum, against how it moves around them.

Where blocks were joined without a seam, these are distributed at the joints as they are elsewhere.
"""

from __future__ import annotations

import numpy as np

METRICS = ("value", "slope", "spectrum")
_WINDOW = 128  # samples on each side whose spectra are compared
_AROUND = 160  # samples on each side that say how much the sound moves


def at(x: np.ndarray, positions: np.ndarray) -> dict[str, np.ndarray]:
    """Each metric at each position: the step from the sample before, the bend there, and the change of spectrum.

    Step and bend are relative to their RMS around; the spectrum's is the mean distance of its bins before and after in
    dB.
    """
    x = x.astype(np.float64)
    step, bend = np.abs(np.diff(x, prepend=x[0])), np.abs(np.diff(x, 2, prepend=x[0], append=x[-1]))
    around = positions[:, None] + np.arange(-_AROUND, _AROUND)
    before, after = (x[positions[:, None] + np.arange(_WINDOW) + shift] for shift in (-_WINDOW, 0))
    taper = np.hanning(_WINDOW)
    floor = 1e-4 * np.abs(np.fft.rfft(x[around][:, :_WINDOW] * taper)).max() + 1e-9
    levels = [20 * np.log10(np.abs(np.fft.rfft(part * taper)) + floor) for part in (before, after)]
    usual_step, usual_bend = (np.sqrt(np.mean(moves[around] ** 2, axis=1)) + 1e-9 for moves in (step, bend))
    return {
        "value": step[positions] / usual_step,
        # The bend at a joint shows on both sides of it.
        "slope": np.maximum(bend[positions], bend[positions - 1]) / usual_bend,
        "spectrum": np.abs(levels[0] - levels[1]).mean(axis=1),
    }


def audible(x: np.ndarray, positions: np.ndarray, least_rms: float) -> np.ndarray:
    """Those of the positions around which there is sound."""
    positions = positions[(positions >= 2 * _AROUND) & (positions < len(x) - 2 * _AROUND)]
    around = positions[:, None] + np.arange(-_AROUND, _AROUND)
    rms = np.sqrt(np.mean(x[around].astype(np.float64) ** 2, axis=1))
    return np.asarray(positions[rms > least_rms])


def ratios(
    x: np.ndarray, joints: np.ndarray, others: np.ndarray, least_rms: float = 1e-3
) -> dict[str, tuple[float, float]]:
    """The 95th percentile of each metric at the joints over that at the other positions, and its limit.

    The limit is 1.1, or what one in two hundred sets of as many other positions exceeds: few joints say little.
    """
    found, usual = (at(x, audible(x, positions, least_rms)) for positions in (joints, others))
    rng, result = np.random.default_rng(0), {}
    for name in METRICS:
        level = np.percentile(usual[name], 95)
        draws = rng.choice(usual[name], (2000, len(found[name])))
        chance = np.percentile(np.percentile(draws, 95, axis=1), 99.5) / level
        result[name] = (float(np.percentile(found[name], 95) / level), max(1.1, float(chance)))
    return result


def level_db(x: np.ndarray, joints: np.ndarray, others: np.ndarray, begin: int, end: int) -> float:
    """Level of all stretches from `begin` to `end` after the joints together, over that after the other positions."""
    powers = []
    for positions in (joints, others):
        index = positions[positions < len(x) - end][:, None] + np.arange(begin, end)
        powers.append(np.mean(x[index].astype(np.float64) ** 2))
    return float(10 * np.log10(powers[0] / powers[1]))
