"""Two clocks held together: how much faster or slower the output has to be made than the input comes.

What is held constant is everything between the two devices' clocks, partly filled blocks included. It is read off the
smoothed clocks, so that neither the size of callbacks nor the moment within a block's cycle shows in it.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_CORRECTION = 1e-3  # 1.7 cents: not to be heard
_BANDWIDTH_RAD_PER_S = 0.1  # slow beside the clocks' own smoothing
_SHRINK_PPM = 200.0  # by which a target that fell is approached
_LARGEST_ERROR_S = 0.005  # what is off by more is off for another reason than drift
_SMOOTHED_S = 6.0  # error over which is decided whether to engage
_ENGAGED_FROM_S = 0.0025  # devices with a common clock stay within it, and their samples then go through unchanged


@dataclass(slots=True)
class RateLock:
    """A PI controller of second order, critically damped.

    Attributes:
        rate: Of the output in Hz.
        target: Level to be held in samples; NaN until the first one is known.
        followed: Level that is held at the moment: it glides to a lower target.
        integral: What was found to be the difference of the clocks, as a ratio.
        ratio: Output samples to be made per nominal output sample.
        is_engaged: Whether the level was ever far enough off to show that the clocks differ.
        smoothed_error: By which that is decided, in seconds.
    """

    rate: int
    target: float = float("nan")
    followed: float = float("nan")
    integral: float = 0.0
    ratio: float = 1.0
    is_engaged: bool = False
    smoothed_error: float = 0.0

    def start(self, level: float) -> None:
        """Hold a level from now on; what is known of the clocks stays."""
        self.target = self.followed = level

    def raise_target(self, samples: float) -> None:
        """The level has grown by so many samples, at once, and is to stay there."""
        self.target += samples
        self.followed += samples

    def update(self, level: float, elapsed_s: float) -> float:
        """The ratio for the next stretch.

        Args:
            level: Samples between the clocks, above `target` where the output is late.
            elapsed_s: Since the last update.
        """
        if self.followed != self.target:
            step = _SHRINK_PPM * 1e-6 * self.rate * elapsed_s
            self.followed += min(max(self.target - self.followed, -step), step)
        off = (level - self.followed) / self.rate
        error = min(max(off, -_LARGEST_ERROR_S), _LARGEST_ERROR_S)
        self.smoothed_error += (error - self.smoothed_error) * min(elapsed_s / _SMOOTHED_S, 1.0)
        self.is_engaged = self.is_engaged or abs(self.smoothed_error) > _ENGAGED_FROM_S
        if not self.is_engaged:
            return self.ratio
        correction = 2.0 * _BANDWIDTH_RAD_PER_S * error + self.integral
        # What is off by much, or by more than can be corrected at once, says nothing of the clocks: summed up, it would
        # go on correcting long after the level is right.
        if abs(off) < _LARGEST_ERROR_S and abs(correction) < MAX_CORRECTION:
            self.integral += _BANDWIDTH_RAD_PER_S**2 * error * elapsed_s
        self.ratio = 1.0 - min(max(correction, -MAX_CORRECTION), MAX_CORRECTION)
        return self.ratio

    @property
    def drift_ppm(self) -> float:
        """How much faster the input's clock is than the output's."""
        return 1e6 * self.integral
