"""Voices that need no trained model: pitch, formants and excitation of the speaker's own speech, changed by WORLD."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...kernels.speaker import SpeakerState
from ...kernels.world import (
    BINS,
    SAMPLE_RATE,
    SpeechFrames,
    tilt_envelope,
    warp_envelope_into,
)
from ..voice import Voice, VoiceKind, VoiceParams

SHIFT_GLIDE_FRAMES = 200  # over which a new estimate comes into force

WHISPER_GAIN = 0.4  # of a vowel's power: whispered vowels are weak beside their consonants
_BINS_HZ = np.arange(BINS) * (SAMPLE_RATE / 2.0 / (BINS - 1))
_WHISPER_TILT = (_BINS_HZ.clip(150.0, 3000.0) / 3000.0) ** 2  # 6 dB per octave


@dataclass(frozen=True, slots=True)
class DspPreset:
    """How a DSP voice changes speech.

    Attributes:
        pitch_semitones: Shift, where no target is given or the speaker's F0 is not known yet.
        target_f0_hz: Median F0 to bring the speaker to; None for a fixed shift.
        shift_bounds_semitones: Least and greatest shift towards the target.
        formant_semitones: Formant shift in semitones.
        formant_per_pitch: Additional formant shift per semitone of pitch shift: vocal tracts are shorter where
            voices are higher, about 0.22 semitones per semitone between men and women.
        monotone_hz: F0 of everything voiced, None to keep the melody.
        aperiodicity: Factor on the proportion of noise in voiced speech.
        whispered: Whether everything is noise.
    """

    pitch_semitones: float = 0.0
    target_f0_hz: float | None = None
    shift_bounds_semitones: tuple[float, float] = (0.0, 0.0)
    formant_semitones: float = 0.0
    formant_per_pitch: float = 0.0
    monotone_hz: float | None = None
    aperiodicity: float = 1.0
    whispered: bool = False

    def shift_for(self, speaker_hz: float) -> float:
        """Pitch shift in semitones for a speaker whose median F0 is given; NaN if it is not known yet."""
        if self.target_f0_hz is None or math.isnan(speaker_hz):
            return self.pitch_semitones
        low, high = self.shift_bounds_semitones
        return min(max(12.0 * math.log2(self.target_f0_hz / speaker_hz), low), high)

    def apply(self, frames: SpeechFrames, state: PresetState, params: VoiceParams, workspace: PresetWorkspace) -> None:
        """Change the next frames of a stream in place.

        Args:
            frames: F0 of n frames; envelopes and aperiodicity of all of them, or of the last ones alone.
            state: Advanced in place.
            params: Shifts that add to the preset's own.
            workspace: Buffers for n frames; `frames.power` may be one of them afterwards.
        """
        w = workspace
        np.greater(frames.f0_hz, 0.0, out=w.is_voiced)
        state.pitch_shift_into(frames.f0_hz, self, w.shift)
        self._shape(frames, params, w)
        if self.whispered:
            frames.f0_hz[:] = 0.0
            return
        if self.monotone_hz is not None:
            np.copyto(frames.f0_hz, self.monotone_hz, where=w.is_voiced)
        w.shift += params.pitch_semitones
        w.shift /= 12.0
        np.exp2(w.shift, out=w.shift)
        frames.f0_hz *= w.shift

    def _shape(self, frames: SpeechFrames, params: VoiceParams, w: PresetWorkspace) -> None:
        """Change envelopes and aperiodicity, of as many of the last frames as there are."""
        count = len(frames.power)
        ratio = w.ratio[:count]
        np.multiply(w.shift[-count:], self.formant_per_pitch, out=ratio)
        ratio += self.formant_semitones + params.formant_semitones
        if ratio.any():
            ratio /= 12.0
            np.exp2(ratio, out=ratio)
            warp_envelope_into(frames.power, ratio, w.log_power[:count], w.power[:count])
            frames.power = w.power[:count]
        if not self.whispered:
            frames.aperiodicity *= self.aperiodicity
            return
        # Breath has no glottal pulse: what was voiced loses its slope, and becomes less loud.
        tilt_envelope(frames.power, w.is_voiced[-count:], _WHISPER_TILT, WHISPER_GAIN)
        frames.aperiodicity[:] = 1.0


@dataclass(slots=True)
class PresetWorkspace:
    """Buffers of `DspPreset.apply`.

    Attributes:
        is_voiced: Whether a frame is voiced [frames].
        shift: Pitch shift in semitones, then as a factor [frames].
        ratio: Factor of the formants [frames].
        power: Envelopes with their formants shifted [frames, BINS].
        log_power: Logarithms of the envelopes [frames, BINS].
    """

    is_voiced: NDArray[np.bool_]
    shift: NDArray[np.float64]
    ratio: NDArray[np.float64]
    power: NDArray[np.float64]
    log_power: NDArray[np.float64]

    @classmethod
    def allocate(cls, frames: int) -> PresetWorkspace:
        """Buffers for so many frames."""
        shift, ratio = np.zeros((2, frames))
        power, log_power = np.zeros((2, frames, BINS))
        return cls(np.zeros(frames, dtype=np.bool_), shift, ratio, power, log_power)


@dataclass(slots=True)
class PresetState:
    """What a preset carries from block to block.

    Attributes:
        speaker: Estimate of the speaker.
        shift_mem: The pitch shift in semitones at the last frame, NaN before the first.
    """

    speaker: SpeakerState = field(default_factory=SpeakerState)
    shift_mem: float = math.nan

    def reset(self) -> None:
        """Return to the start of a stream and forget the speaker."""
        self.speaker.reset()
        self.shift_mem = math.nan

    def pitch_shift_into(self, f0_hz: NDArray[np.float64], preset: DspPreset, out: NDArray[np.float64]) -> None:
        """Take note of the next frames' F0 [frames]; fill `out` with their shift in semitones [frames]."""
        self.speaker.note(f0_hz)
        shift = preset.shift_for(self.speaker.median_hz)
        start = shift if math.isnan(self.shift_mem) else self.shift_mem
        for i in range(len(out)):
            self.shift_mem = start + (shift - start) * min((i + 1) / SHIFT_GLIDE_FRAMES, 1.0)
            out[i] = self.shift_mem


@dataclass(frozen=True, slots=True)
class DspVoice:
    """A preset under a name. It is rendered at 24 kHz, so the output holds nothing above 12 kHz.

    Attributes:
        preset: Preset of the voice; None for a voice that changes nothing.
    """

    name: str
    description: str
    preset: DspPreset | None

    @property
    def kind(self) -> VoiceKind:
        """Always "dsp"."""
        return "dsp"

    @property
    def sample_rate(self) -> int | None:
        """None: the output follows the input."""
        return None

    @property
    def speakers(self) -> int:
        """One."""
        return 1

    @property
    def lengths(self) -> Mapping[str, int]:
        """See `Voice`: any."""
        return {}

    @property
    def uses(self) -> frozenset[str]:
        """See `Voice`."""
        names = ("pitch_semitones", "formant_semitones", "f0_method", "seed", "block_ms")
        return frozenset(names if self.preset is not None else ())


DSP_VOICES: dict[str, Voice] = {
    voice.name: voice
    for voice in (
        DspVoice(
            "woman",
            "a woman's pitch and formants, adapted to the speaker",
            DspPreset(9.0, 205.0, (-5.0, 14.0), formant_per_pitch=0.22),
        ),
        DspVoice(
            "man",
            "a man's pitch and formants, adapted to the speaker",
            DspPreset(-6.0, 110.0, (-14.0, 5.0), formant_per_pitch=0.22),
        ),
        DspVoice(
            "child",
            "a child's high pitch and formants, adapted to the speaker",
            DspPreset(12.0, 290.0, (0.0, 17.0), formant_per_pitch=0.25),
        ),
        DspVoice(
            "giant",
            "deep and huge, adapted to the speaker",
            DspPreset(-7.0, 68.0, (-14.0, -4.0), formant_semitones=-1.5, formant_per_pitch=0.25),
        ),
        DspVoice("robot", "one constant pitch", DspPreset(monotone_hz=115.0, aperiodicity=0.4)),
        DspVoice("whisper", "breath only, no pitch", DspPreset(formant_semitones=0.7, whispered=True)),
        DspVoice("off", "your own voice, unchanged", None),
        DspVoice(
            "neutral",
            "the same medium pitch for every speaker",
            DspPreset(0.0, 155.0, (-9.0, 9.0), formant_per_pitch=0.22),
        ),
        DspVoice("cartoon", "an octave higher, with small formants", DspPreset(12.0, formant_semitones=5.0)),
    )
}
