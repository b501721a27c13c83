"""An open sound file as its reader sees it: mono blocks out of any channels, and what was found wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...kernels.errors import AudioFileError
from ...kernels.printable import printable
from ...kernels.types import Float64Array

log = logging.getLogger(__name__)

PCM = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32")
BLOCK_S = 1.0
_BLOCK_VALUES = 2**20  # at most, over all channels
_LEAST_RATE, _MAX_RATE = 1000, 768_000
_MOST_CHANNELS = 256
_NEGLIGIBLE_S = 0.1  # of missing sound: lossy formats announce their length in whole frames, or with their padding
# Silence can be packed ten thousand times smaller than it is, so the length is bounded by the size of the file: speech
# at the lowest rates in use takes some 700 bytes per second.
_LONGEST_S = 12 * 3600.0
_LEAST_BYTES_PER_S = 250.0
# The mean of N channels that have nothing to do with one another has 1/N of their power; inverted ones leave nothing.
_CANCELLED = 0.5  # of that power, over the whole file
_CANCELLED_WINDOW = 0.2  # and within a window
_CANCELLED_SHARE = 0.2  # of the sound that lies in such windows
_WINDOW_S = 0.25


def block_frames(sample_rate: int, channels: int) -> int:
    """Frames to read at once: about a second, or less where there are very many channels."""
    return max(min(int(BLOCK_S * sample_rate), _BLOCK_VALUES // channels), 1)


def check_limits(path: Path, sample_rate: int, channels: int) -> None:
    """Refuse sound that claims to be what none is; `sample_rate` in Hz.

    Raises:
        AudioFileError: there are too many channels, or the rate is out of range.
    """
    if not _LEAST_RATE <= sample_rate <= _MAX_RATE:
        rates = f"{_LEAST_RATE} to {_MAX_RATE}"
        raise AudioFileError(f"{path} claims a rate of {sample_rate} Hz; {rates} can be read")
    if channels > _MOST_CHANNELS:
        raise AudioFileError(f"{path} claims {channels} channels; up to {_MOST_CHANNELS} can be read")


@dataclass(slots=True)
class AudioSource:
    """An open file.

    Attributes:
        path: The file.
        container: "WAV", "FLAC", "mov,mp4" ...
        encoding: "PCM_16", "aac" ...
        sample_rate: Hz.
        channels: Number of channels in the file.
        expected_frames: Number of frames by the header; None if it does not say.
        estimated_s: Approximate length, None if unknown.
        raw_blocks: Reads [N, channels] float64 to the end, once.
        chosen_channel: Reads the file again to choose the channel to use instead of the mean; None for the mean.
        warnings: Problems that are not fatal.
        is_quiet: Whether warnings are not logged.
    """

    path: Path
    container: str
    encoding: str
    sample_rate: int
    channels: int
    expected_frames: int | None
    estimated_s: float | None
    raw_blocks: Callable[[], Iterator[Float64Array]] = field(repr=False)
    chosen_channel: Callable[[], int | None] = field(default=lambda: None, repr=False)
    warnings: list[str] = field(default_factory=list)
    is_quiet: bool = False

    @property
    def subtype(self) -> str | None:
        """The sample format in soundfile's terms, None for compressed sound."""
        return self.encoding if self.encoding in (*PCM, "FLOAT", "DOUBLE") else None

    def blocks(self, repair: bool = False) -> Iterator[Float64Array]:
        """The mean of the channels, block by block, to the end. Integer samples stay exact in mono.

        Where the channels would cancel out (one is the inverse of another), the loudest is taken instead.

        Args:
            repair: Replace NaN and infinite samples with silence.

        Raises:
            AudioFileError: there is no audio, it holds NaN or infinity, or it is longer than its size allows.
        """
        chosen = self.chosen_channel() if self.channels > 1 else None
        if chosen is not None:
            self.warn(f"its channels cancel out (one is inverted), so channel {chosen + 1} alone was taken")
        read = repaired = 0
        for block in bounded(self):
            mono = _mono(block, chosen)
            good = np.isfinite(mono)
            if not good.all():
                if not repair:
                    first_s = (read + int(np.argmin(good))) / self.sample_rate
                    raise AudioFileError(
                        f"{self.path} holds NaN or infinite samples, the first at {first_s:.3f} s; --repair replaces "
                        "them with silence"
                    )
                repaired += int((~good).sum())
                mono = np.where(good, mono, 0.0)
            read += len(mono)
            if len(mono):
                yield mono
        if read == 0:
            raise AudioFileError(f"{self.path} holds no audio: it has 0 samples")
        if repaired:
            self.warn(f"{repaired} NaN or infinite samples were replaced with silence")
        if missing_s := self.missing_s(read):
            self.warn(f"it is cut short: {missing_s:.1f} s of what its header announces are missing")

    def missing_s(self, frames: int) -> float:
        """Seconds that the header announces beyond the `frames` that there are; 0 if negligible."""
        missing_s = ((self.expected_frames or 0) - frames) / self.sample_rate
        return missing_s if missing_s > _NEGLIGIBLE_S else 0.0

    def warn(self, what: str) -> None:
        """Note something that is wrong and not fatal."""
        self.warnings.append(what)
        if not self.is_quiet:
            log.warning("%s: %s", self.path, what)


def bounded(source: AudioSource) -> Iterator[Float64Array]:
    """The blocks [N, channels] of a file.

    Raises:
        AudioFileError: there are more than a file of its size may hold.
    """
    longest_s = _LONGEST_S + source.path.stat().st_size / _LEAST_BYTES_PER_S
    read = 0
    for block in source.raw_blocks():
        read += len(block)
        if read > longest_s * source.sample_rate:
            raise AudioFileError(
                f"{source.path} holds more than {longest_s / 3600:.1f} h of sound, the limit for a file of its size; "
                "cut it into pieces"
            )
        yield block


def _mono(block: Float64Array, chosen: int | None) -> Float64Array:
    if block.shape[1] == 1:
        return block[:, 0]
    if chosen is not None and chosen < block.shape[1]:
        return block[:, chosen]
    with np.errstate(invalid="ignore"):  # infinities of both signs
        return np.asarray(block.mean(axis=1))


def louder_than_the_mean(blocks: Iterable[Float64Array], sample_rate: int) -> int | None:
    """The loudest channel of a sound [N, channels] whose channels cancel out in their mean, as a whole or for a good
    part of it; None if they do not."""
    power: NDArray[np.float64] = np.zeros(0)
    mean_power = cancelled_power = 0.0
    size = max(int(_WINDOW_S * sample_rate), 1)
    for block in (part[start : start + size] for part in blocks for start in range(0, len(part), size)):
        channels = block.shape[1]
        if channels < 2 or not len(block):
            continue
        finite = np.nan_to_num(block, posinf=0.0, neginf=0.0)
        own = np.einsum("nc,nc->c", finite, finite)
        mean = finite.mean(axis=1)
        of_mean = float(mean @ mean) * channels**2  # what it is for channels that have nothing to do with one another
        total = float(own.sum())
        if len(own) > len(power):
            power = np.pad(power, (0, len(own) - len(power)))
        power[: len(own)] += own
        mean_power += of_mean
        if of_mean < _CANCELLED_WINDOW * total:
            cancelled_power += total
    total = float(power.sum())
    if total and (mean_power < _CANCELLED * total or cancelled_power > _CANCELLED_SHARE * total):
        return int(np.argmax(power))
    return None


def described(error: Exception) -> str:
    """What a library says of an error, fit for a message."""
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return printable(text, 100).strip(" .") or type(error).__name__
