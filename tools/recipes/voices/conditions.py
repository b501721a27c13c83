"""What happens to a clip before a voice hears it, and in what blocks it comes.

Noise is recorded (a set of the manifest that holds no speech); everything that is drawn follows from the clip's name.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.signal

from ....kernels.errors import ParameterError
from ....kernels.types import FloatArray
from ....realtime.session import denoise
from .manifest import at_rate

RATE = 24000  # of all audio before it is measured
# A voice is as loud as its frames of 20 ms within this of the loudest one; pauses do not count.
_ACTIVE_RANGE_DB = 30.0
_TELEPHONE_HZ = (300.0, 3400.0)
_USUAL_DB = -26.0  # active level that clips are brought to before they are disturbed, and that is measured at


@dataclass(frozen=True, slots=True)
class Condition:
    """A way in which clips reach a voice.

    Attributes:
        name: For tables and for the command line.
        snr_db: Active speech above recorded noise; None without noise.
        is_telephone: Whether only 300 to 3400 Hz are left.
        gain_db: Change of level; None for the usual one.
        peak_db: Level of the peak, clipped at full scale; None for no change.
        is_denoised: Whether noise is suppressed then, as `altervox live --denoise` does.
        block_ms: Block length; None for that of the run, 0 for the whole clip in one block.
        is_held_out: Whether the clips are new sentences of speakers that were trained on, in place of new speakers.
    """

    name: str
    snr_db: float | None = None
    is_telephone: bool = False
    gain_db: float | None = None
    peak_db: float | None = None
    is_denoised: bool = False
    block_ms: int | None = None
    is_held_out: bool = False

    @property
    def is_noisy(self) -> bool:
        """Whether it needs a recording of noise."""
        return self.snr_db is not None

    @property
    def sound(self) -> tuple[object, ...]:
        """What conditions have in common that differ in their blocks alone: the audio that a voice hears."""
        return self.snr_db, self.is_telephone, self.gain_db, self.peak_db, self.is_denoised, self.is_held_out

    def apply(self, audio: FloatArray, noise: FloatArray) -> FloatArray:
        """A clip [N] at 24 kHz as the voice hears it; the noise, of any length, is used where there is to be some."""
        if self.snr_db is not None:
            audio = with_noise(audio, noise, self.snr_db)
        if self.is_telephone:
            audio = telephone(audio)
        if self.gain_db is not None:
            audio = np.asarray(audio * 10.0 ** (self.gain_db / 20.0), dtype=np.float32)
        if self.peak_db is not None:
            peak = max(float(np.abs(audio).max(initial=0.0)), 1e-9)
            audio = np.asarray((audio / peak * 10.0 ** (self.peak_db / 20.0)).clip(-1.0, 1.0), dtype=np.float32)
        return denoised(audio) if self.is_denoised else audio


CLEAN = Condition("clean")
CONDITIONS = {
    condition.name: condition
    for condition in (
        CLEAN,
        Condition("noise-20db", snr_db=20.0),
        Condition("noise-10db", snr_db=10.0),
        Condition("denoised-20db", snr_db=20.0, is_denoised=True),
        Condition("denoised-10db", snr_db=10.0, is_denoised=True),
        Condition("telephone", is_telephone=True),
        Condition("quiet", gain_db=-20.0),
        Condition("loud", peak_db=12.0),
        Condition("held-out", is_held_out=True),
        Condition("blocks-20ms", block_ms=20),
        Condition("blocks-40ms", block_ms=40),
        Condition("blocks-100ms", block_ms=100),
        Condition("one-block", block_ms=0),
    )
}


def chosen_conditions(names: str) -> list[Condition]:
    """Conditions by their names, separated by commas; "all" for all of them.

    Raises:
        ParameterError: there is none of that name.
    """
    if names.strip() == "all":
        return list(CONDITIONS.values())
    wanted = [name.strip() for name in names.split(",")]
    for name in wanted:
        if name not in CONDITIONS:
            raise ParameterError(f"there is no condition {name!r}; choose all, or from {', '.join(CONDITIONS)}")
    return [CONDITIONS[name] for name in dict.fromkeys(wanted)]


def active_rms(audio: FloatArray, rate: int = RATE) -> float:
    """RMS over the frames of 20 ms within 30 dB of the loudest one; 0 for silence."""
    hop = rate // 50
    padded = np.pad(audio, (0, -len(audio) % hop)).astype(np.float64)
    power = np.square(padded).reshape(-1, hop).mean(axis=1)
    loudest = float(power.max(initial=0.0))
    if loudest == 0.0:
        return 0.0
    return float(np.sqrt(power[power > loudest * 10.0 ** (-_ACTIVE_RANGE_DB / 10.0)].mean()))


def at_usual_level(audio: FloatArray, rate: int = RATE) -> FloatArray:
    """Audio brought to an active level of -26 dB, or to where its peak is at full scale; silence stays silence."""
    rms = active_rms(audio, rate)
    if rms == 0.0:
        return audio
    gain = min(10.0 ** (_USUAL_DB / 20.0) / rms, 1.0 / float(np.abs(audio).max()))
    return np.asarray(audio * gain, dtype=np.float32)


def with_noise(audio: FloatArray, noise: FloatArray, snr_db: float) -> FloatArray:
    """Speech and noise at a ratio of the active level of the one to the RMS of the other."""
    noise = np.resize(noise, len(audio))
    rms = float(np.sqrt(np.mean(np.square(noise, dtype=np.float64))))
    gain = active_rms(audio) * 10.0 ** (-snr_db / 20.0) / max(rms, 1e-9)
    return np.asarray(audio + gain * noise, dtype=np.float32)


def telephone(audio: FloatArray) -> FloatArray:
    """What a telephone leaves: 300 to 3400 Hz, without delay."""
    band = scipy.signal.butter(4, _TELEPHONE_HZ, "bandpass", fs=RATE, output="sos")
    return np.asarray(scipy.signal.sosfiltfilt(band, audio), dtype=np.float32)


def denoised(audio: FloatArray) -> FloatArray:
    """What RNNoise leaves, without its delay.

    Raises:
        MissingDependencyError: pyrnnoise is not installed.
    """
    suppressor = denoise.NoiseSuppressor()
    at_48k = at_rate(audio, RATE, denoise.SAMPLE_RATE)
    padded = np.pad(at_48k, (0, denoise.LATENCY_SAMPLES + -len(at_48k) % denoise.FRAME))
    suppressor.process(padded, np.zeros(len(padded) // denoise.FRAME, dtype=np.float32))
    return at_rate(padded[denoise.LATENCY_SAMPLES :], denoise.SAMPLE_RATE, RATE)[: len(audio)]


def noise_for(name: str, noises: Sequence[FloatArray]) -> FloatArray:
    """One of the recordings of noise, always the same for a clip of that name."""
    return noises[zlib.crc32(name.encode()) % len(noises)] if noises else np.zeros(1, dtype=np.float32)
