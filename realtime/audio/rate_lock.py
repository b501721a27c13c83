"""Drift compensation: the resampling ratio that holds the buffer fill between two clocks.

The buffer fill includes partly filled blocks. It is read off the smoothed clocks, so that neither the size of callbacks
nor the phase within a block shows in it.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_CORRECTION = 1e-3  # 1.7 cents: inaudible
_BANDWIDTH_RAD_PER_S = 0.1  # slow beside the clocks' own smoothing
_SHRINK_PPM = 200.0  # by which a target that fell is approached
_LARGEST_ERROR_S = 0.005  # larger errors have other causes than drift
_SMOOTHED_S = 6.0  # time constant of the error that decides whether to engage
_ENGAGED_FROM_S = 0.0025  # devices with a common clock stay within it, and their samples pass unchanged


@dataclass(slots=True)
class RateLock:
    """A PI controller of second order, critically damped.

    Attributes:
        rate: Rate of the output in Hz.
        target: Buffer fill to hold, in samples; NaN until the first one is known.
        followed: Buffer fill that is held at the moment; glides to a lower target.
        integral: Clock drift found so far, as a ratio.
        ratio: Output samples to produce per nominal output sample.
        is_engaged: Whether the error was ever large enough to show that the clocks drift.
        smoothed_error: Smoothed error in seconds, which decides `is_engaged`.
    """

    rate: int
    target: float = float("nan")
    followed: float = float("nan")
    integral: float = 0.0
    ratio: float = 1.0
    is_engaged: bool = False
    smoothed_error: float = 0.0

    def start(self, fill: float) -> None:
        """Hold this buffer fill from now on; the known drift is kept."""
        self.target = self.followed = fill

    def raise_target(self, samples: float) -> None:
        """Raise the target by a number of samples that the buffer fill has grown by at once."""
        self.target += samples
        self.followed += samples

    def update(self, fill: float, elapsed_s: float) -> float:
        """The ratio for the next block.

        Args:
            fill: Buffer fill in samples; above `target` if the output is late.
            elapsed_s: Time since the last update.
        """
        if self.followed != self.target:
            step = _SHRINK_PPM * 1e-6 * self.rate * elapsed_s
            self.followed += min(max(self.target - self.followed, -step), step)
        off = (fill - self.followed) / self.rate
        error = min(max(off, -_LARGEST_ERROR_S), _LARGEST_ERROR_S)
        self.smoothed_error += (error - self.smoothed_error) * min(elapsed_s / _SMOOTHED_S, 1.0)
        self.is_engaged = self.is_engaged or abs(self.smoothed_error) > _ENGAGED_FROM_S
        if not self.is_engaged:
            return self.ratio
        correction = 2.0 * _BANDWIDTH_RAD_PER_S * error + self.integral
        # A large error, or one beyond the largest correction, says nothing about drift: integrated, it would go on
        # correcting long after the buffer fill is right.
        if abs(off) < _LARGEST_ERROR_S and abs(correction) < MAX_CORRECTION:
            self.integral += _BANDWIDTH_RAD_PER_S**2 * error * elapsed_s
        self.ratio = 1.0 - min(max(correction, -MAX_CORRECTION), MAX_CORRECTION)
        return self.ratio

    @property
    def drift_ppm(self) -> float:
        """Clock drift: by how much the input's clock is faster than the output's."""
        return 1e6 * self.integral
