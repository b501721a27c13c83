"""Where decoded sound belongs by its time stamps: holes become silence, so that it stays aligned with the picture."""

from __future__ import annotations

from dataclasses import dataclass, field

_JITTER_S = 0.05  # time stamps are rounded, and those of live recordings waver: nothing is moved for less
_RESTART_S = 1.0  # stamps that go back by more begin anew, as in files joined end to end
_LONGEST_HOLE_S = 3600.0
_MOST_SILENCE_S = 4 * 3600.0  # over all holes of a file


@dataclass(slots=True)
class Timeline:
    """How much silence goes before each frame of sound, or how much of its start is dropped.

    Attributes:
        sample_rate: Hz.
        origin_s: Time stamp at which the file begins.
        position: Samples so far, silence included.
        holes: Number of gaps that were filled.
        notes: Time stamps that could not be followed, in sentences.
    """

    sample_rate: int
    origin_s: float
    position: int = 0
    holes: int = 0
    notes: list[str] = field(default_factory=list)
    _hole_samples: int = 0
    _silence: int = 0
    _overlap: int = 0

    def gap(self, start_s: float | None, frames: int, following_s: float | None) -> int:
        """Samples of silence before a frame; if negative, samples of its start that are to be dropped.

        Args:
            start_s: Time stamp of the frame; None if it has none.
            frames: Samples in it.
            following_s: Time stamp of the frame after it.
        """
        if start_s is None:
            return 0
        gap = self._ahead(start_s)
        jitter = int(_JITTER_S * self.sample_rate)
        if abs(gap) <= jitter:
            return 0
        if following_s is not None and abs(self._ahead(following_s) - frames) <= jitter:
            return 0  # a single stamp that is wrong: the next one goes on as before
        if gap > 0:
            return self._filled(gap)
        if -gap > _RESTART_S * self.sample_rate:
            self._note(
                f"its time stamps start again at {self.position / self.sample_rate:.1f} s; what follows is joined"
            )
            self.origin_s += gap / self.sample_rate
            return 0
        self._overlap += min(-gap, frames)
        return -min(-gap, frames)

    def summary(self) -> list[str]:
        """What was done, in sentences."""
        done = []
        if self.holes:
            what = "1 hole" if self.holes == 1 else f"{self.holes} holes"
            seconds = self._hole_samples / self.sample_rate
            done.append(f"it has {what} by its time stamps, filled with {seconds:.1f} s of silence")
        if self._overlap:
            done.append(f"{self._overlap / self.sample_rate:.2f} s overlap by its time stamps and were left out")
        return done + self.notes

    def _ahead(self, stamp_s: float) -> int:
        """By how many samples a time stamp is later than what was given out so far."""
        return round((stamp_s - self.origin_s) * self.sample_rate) - self.position

    def _filled(self, gap: int) -> int:
        gap_s = gap / self.sample_rate
        if gap_s > _LONGEST_HOLE_S or self._silence + gap > _MOST_SILENCE_S * self.sample_rate:
            hours = f"{_LONGEST_HOLE_S / 3600:.0f} h each and {_MOST_SILENCE_S / 3600:.0f} h in all"
            self._note(
                f"its time stamps jump by {gap_s / 3600:.1f} h at {self.position / self.sample_rate:.1f} s; holes are "
                f"filled up to {hours}, so this one was closed"
            )
            self.origin_s += gap_s
            return 0
        self._silence += gap
        if self.position:
            self.holes += 1
            self._hole_samples += gap
        return gap

    def _note(self, what: str) -> None:
        if not self.notes:  # the first of each file: there may be thousands
            self.notes.append(what)
