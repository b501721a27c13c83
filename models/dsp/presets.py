"""Voices that need no trained model: pitch, formants and excitation of the speaker's own speech, changed by WORLD."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..voice import Voice, VoiceKind


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
        DspVoice("cartoon", "an octave higher, with raised formants", DspPreset(12.0, formant_semitones=5.0)),
    )
}
