"""The controller that holds two clocks together, on a level that obeys it."""

import numpy as np
import pytest
from altervox.realtime.audio.rate_lock import MAX_CORRECTION, RateLock

RATE = 48000
STEP_S = 0.02


def run(lock: RateLock, level: float, seconds: float, ppm: float = 0.0) -> tuple[float, list[float]]:
    """The level after so long under an input that is faster by some ppm, and what was taken for drift meanwhile."""
    drifts = []
    for _ in range(int(seconds / STEP_S)):
        ratio = lock.update(level, STEP_S)
        level += RATE * STEP_S * (ppm * 1e-6 + ratio - 1.0)
        drifts.append(lock.drift_ppm)
    return level, drifts


@pytest.mark.parametrize("off_ms", [-60.0, -8.0, 8.0, 60.0])
def test_a_level_that_is_far_off_is_not_taken_for_drift(off_ms: float) -> None:
    """As after a block that took long: it is brought back at the bound and stays, without overshooting."""
    lock = RateLock(RATE)
    lock.start(4000.0)
    level, drifts = run(lock, 4000.0 + off_ms * 48, 120.0)
    assert np.abs(drifts).max() < 0.5 * MAX_CORRECTION * 1e6
    assert level == pytest.approx(4000.0, abs=24)
    assert abs(drifts[-1]) < 20.0


@pytest.mark.parametrize("ppm", [-200.0, 50.0, 200.0])
def test_drift_is_found_and_held(ppm: float) -> None:
    lock = RateLock(RATE)
    lock.start(4000.0)
    level, drifts = run(lock, 4000.0, 300.0, ppm)
    assert level == pytest.approx(4000.0, abs=10)
    assert drifts[-1] == pytest.approx(ppm, abs=3.0)


def test_a_common_clock_changes_no_sample() -> None:
    lock = RateLock(RATE)
    lock.start(4000.0)
    rng = np.random.default_rng(0)
    assert {lock.update(4000.0 + rng.normal(0, 48), STEP_S) for _ in range(3000)} == {1.0}
