"""What a DSP voice does to the frames of speech: pitch, formants and excitation, as its preset says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...kernels.speaker import SpeakerState
from ...kernels.world import BINS, SAMPLE_RATE, SpeechFrames, tilt_envelope, warp_envelope_into
from ..voice import VoiceParams
from .presets import DspPreset

SHIFT_GLIDE_FRAMES = 200  # over which a new estimate comes into force

WHISPER_GAIN = 0.4  # of a vowel's power: whispered vowels are weak beside their consonants
_BINS_HZ = np.arange(BINS) * (SAMPLE_RATE / 2.0 / (BINS - 1))
_WHISPER_TILT = (_BINS_HZ.clip(150.0, 3000.0) / 3000.0) ** 2  # 6 dB per octave


@dataclass(slots=True)
class PresetWorkspace:
    """Buffers of `apply_preset`.

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

    def pitch_shift_into(
        self, f0_hz: NDArray[np.float64], loudness: NDArray[np.float64], preset: DspPreset, out: NDArray[np.float64]
    ) -> None:
        """Take note of the next frames' F0 and loudness [frames]; fill `out` with their shift in semitones [frames]."""
        self.speaker.note(f0_hz, loudness)
        shift = preset.shift_for(self.speaker.median_hz)
        start = shift if math.isnan(self.shift_mem) else self.shift_mem
        for i in range(len(out)):
            self.shift_mem = start + (shift - start) * min((i + 1) / SHIFT_GLIDE_FRAMES, 1.0)
            out[i] = self.shift_mem


def apply_preset(
    preset: DspPreset,
    frames: SpeechFrames,
    loudness: NDArray[np.float64],
    state: PresetState,
    params: VoiceParams,
    workspace: PresetWorkspace,
) -> None:
    """Change the next frames of a stream in place.

    Args:
        preset: What to change.
        frames: F0 of n frames; envelopes and aperiodicity of all of them, or of the last ones alone.
        loudness: Of n frames, as of `loudness_into` [n].
        state: Advanced in place.
        params: Shifts that add to the preset's own.
        workspace: Buffers for n frames; `frames.power` may be one of them afterwards.
    """
    w = workspace
    np.greater(frames.f0_hz, 0.0, out=w.is_voiced)
    state.pitch_shift_into(frames.f0_hz, loudness, preset, w.shift)
    _shape(preset, frames, params, w)
    if preset.whispered:
        frames.f0_hz[:] = 0.0
        return
    if preset.monotone_hz is not None:
        np.copyto(frames.f0_hz, preset.monotone_hz, where=w.is_voiced)
    w.shift += params.pitch_semitones
    w.shift /= 12.0
    np.exp2(w.shift, out=w.shift)
    frames.f0_hz *= w.shift


def _shape(preset: DspPreset, frames: SpeechFrames, params: VoiceParams, w: PresetWorkspace) -> None:
    """Change envelopes and aperiodicity, of as many of the last frames as there are."""
    count = len(frames.power)
    ratio = w.ratio[:count]
    np.multiply(w.shift[-count:], preset.formant_per_pitch, out=ratio)
    ratio += preset.formant_semitones + params.formant_semitones
    if ratio.any():
        ratio /= 12.0
        np.exp2(ratio, out=ratio)
        warp_envelope_into(frames.power, ratio, w.log_power[:count], w.power[:count])
        frames.power = w.power[:count]
    if not preset.whispered:
        frames.aperiodicity *= preset.aperiodicity
        return
    # Breath has no glottal pulse: what was voiced loses its slope, and becomes less loud.
    tilt_envelope(frames.power, w.is_voiced[-count:], _WHISPER_TILT, WHISPER_GAIN)
    frames.aperiodicity[:] = 1.0
