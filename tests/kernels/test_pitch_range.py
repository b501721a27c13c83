"""F0 of any speaker in the range of another voice."""

import numpy as np
import pytest
from altervox.kernels.pitch_range import LEAST_STRETCH, MOST_SPREADS, MOST_STRETCH, PitchRangeState, map_f0_into
from numpy.typing import NDArray

MEAN, SPREAD = 7.7, 0.25  # of the voice: 208 Hz, 3 semitones


def talk(median_hz: float, spread: float, voiced_s: float, seed: int = 0) -> NDArray[np.float64]:
    """F0 of frames of 5 ms: half a second voiced, as long unvoiced; smooth, with a spread in octaves."""
    rng = np.random.default_rng(seed)
    frames = round(200 * voiced_s)
    x = np.zeros(frames)
    for i in range(1, frames):
        x[i] = 0.98 * x[i - 1] + np.sqrt(1 - 0.98**2) * rng.standard_normal()
    f0 = median_hz * 2.0 ** (spread * x)
    pieces = [piece for part in np.array_split(f0, max(frames // 100, 1)) for piece in (part, np.zeros(100))]
    return np.concatenate(pieces)


def mapped(
    f0: NDArray[np.float64], state: PitchRangeState | None = None, loudness: NDArray[np.float64] | float = 0.1
) -> NDArray[np.float64]:
    out, loudness = np.full(len(f0), np.nan), np.full(len(f0), loudness)
    map_f0_into(f0, loudness, np.full(len(f0), MEAN), np.full(len(f0), SPREAD), state or PitchRangeState(), out)
    return out


@pytest.mark.parametrize("median_hz", [70.0, 110.0, 208.0, 350.0])
@pytest.mark.parametrize("spread", [0.15, 0.25, 0.35])
def test_mean_and_spread_become_the_voices_own(median_hz: float, spread: float) -> None:
    out = mapped(talk(median_hz, spread, 20.0))
    octaves = np.log2(out[-4000:][out[-4000:] > 0.0])
    assert abs(octaves.mean() - MEAN) < 0.1
    assert abs(octaves.std() - SPREAD) < 0.25 * SPREAD
    assert ((out > 0.0) == (talk(median_hz, spread, 20.0) > 0.0)).all()


@pytest.mark.parametrize(("spread", "stretch"), [(0.02, MOST_STRETCH), (1.2, LEAST_STRETCH)])
def test_a_monotonous_or_a_singing_speaker_is_stretched_within_bounds(spread: float, stretch: float) -> None:
    state = PitchRangeState()
    mapped(talk(150.0, spread, 60.0), state)
    assert abs(state.stretch_mem - stretch) < 0.02


@pytest.mark.parametrize("first_hz", [90.0, 420.0])
def test_the_first_word_lies_in_the_voices_range(first_hz: float) -> None:
    out = mapped(talk(first_hz, 0.2, 0.5))[:100]
    assert abs(np.log2(out) - MEAN).max() < 0.75
    assert abs(np.log2(out[:10]) - MEAN).max() < 0.2


def test_a_speaker_who_is_known_is_mapped_from_the_first_frame_on() -> None:
    known, new = PitchRangeState(), PitchRangeState()
    mapped(talk(110.0, 0.25, 20.0), known)
    new.speaker.adopt(known.speaker)
    assert abs(np.log2(mapped(np.full(1, 220.0), new)[0]) - (MEAN + 1.0)) < 0.1, "an octave above their median"


def test_speech_over_hum_lies_in_the_voices_range_after_half_a_second() -> None:
    """Hum of 100 Hz, 45 dB below a woman's speech: for 15 s before she begins, and in all pauses."""
    f0 = np.concatenate((np.zeros(3000), talk(190.0, 0.2, 8.0)))
    speaks = f0 > 0.0
    out = mapped(np.where(speaks, f0, 100.0), loudness=np.where(speaks, 0.1, 0.0006))
    octaves = np.log2(out[speaks])
    assert abs(octaves[100:300].mean() - MEAN) < 0.25
    assert abs(octaves[200:].mean() - MEAN) < 0.1


@pytest.mark.parametrize("beep_hz", [40.0, 600.0, 1000.0])
def test_a_beep_before_the_first_word_keeps_nobody_out_of_the_voices_range(beep_hz: float) -> None:
    """Within bounds at once, and where the voice belongs after the second pause."""
    out = mapped(np.concatenate((np.full(60, beep_hz), np.zeros(100), talk(110.0, 0.2, 4.0))))
    octaves = np.log2(out[160:], where=out[160:] > 0.0, out=np.full(len(out) - 160, np.nan))
    assert np.nanmax(np.abs(octaves - MEAN)) <= MOST_SPREADS * SPREAD + 1e-9
    assert abs(np.nanmean(octaves[400:]) - MEAN) < 0.15


def test_nothing_jumps_where_the_speaker_does_not() -> None:
    """Not while the speaker becomes known, and not when somebody else speaks."""
    f0 = np.concatenate((talk(100.0, 0.3, 10.0), talk(230.0, 0.2, 30.0, seed=1)))
    out = mapped(f0)
    both = (f0[1:] > 0.0) & (f0[:-1] > 0.0)
    step_in, step_out = (np.abs(np.diff(np.log2(np.where(x > 0.0, x, 1.0)))) for x in (f0, out))
    assert (step_out - MOST_STRETCH * step_in)[both].max() < 0.015
    assert abs(np.log2(out[-4000:][out[-4000:] > 0.0]).mean() - MEAN) < 0.1


def test_grouping_of_frames_makes_no_difference() -> None:
    f0 = talk(140.0, 0.3, 8.0)
    whole, state = mapped(f0), PitchRangeState()
    pieces = np.concatenate([mapped(f0[at : at + 7], state) for at in range(0, len(f0), 7)])
    np.testing.assert_array_equal(pieces, whole)


def test_reset_forgets_the_speaker() -> None:
    state, f0 = PitchRangeState(), talk(180.0, 0.25, 2.0)
    first = mapped(f0, state)
    state.reset()
    np.testing.assert_array_equal(mapped(f0, state), first)
