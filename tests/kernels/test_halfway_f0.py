"""F0 between frames."""

from __future__ import annotations

import numpy as np
from altervox.kernels.salience import halfway_f0


def halfway(before: list[float], after: list[float]) -> np.ndarray:
    return halfway_f0(np.array(before, dtype=np.float32), np.array(after, dtype=np.float32))


def test_between_two_pitches_lies_the_mean_pitch() -> None:
    np.testing.assert_allclose(halfway([100.0, 220.0], [110.0, 220.0]), [np.sqrt(11000.0), 220.0], rtol=1e-6)


def test_where_one_side_has_none_the_other_holds() -> None:
    np.testing.assert_array_equal(
        halfway([0.0, 0.0, 90.0], [0.0, 150.0, 0.0]), np.array([0.0, 150.0, 90.0], dtype=np.float32)
    )


def test_nothing_lies_between_an_octave() -> None:
    np.testing.assert_array_equal(halfway([100.0, 400.0], [200.0, 150.0]), np.array([100.0, 400.0], dtype=np.float32))
