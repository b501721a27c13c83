"""What a voice is: one description for DSP, neural and RVC voices, and the parameters that all of them take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from ..kernels.errors import ParameterError
from .parameters import VOICE_PARAMETERS

UNCHANGED = "off"  # name of the voice that changes nothing

VoiceKind = Literal["dsp", "neural", "rvc", "exported"]

F0_METHODS: dict[str, str] = {
    "auto": "rmvpe-small",
    "rmvpe-small": "a small RMVPE that ships with altervox: neural, robust to noise, fast on a CPU",
    "rmvpe": "RMVPE as published, 100 times as large: for a GPU; downloads rmvpe.pt (181 MB)",
}


@dataclass(frozen=True, slots=True)
class VoiceParams:
    """Parameters of a voice. Frozen: change them with `dataclasses.replace`.

    Every voice takes all of them and ignores what it has no use for (a DSP voice has no index and no speakers).

    Attributes:
        pitch_semitones: Added to the voice's own pitch shift, -36..36.
        formant_semitones: Formant shift without a pitch shift, -12..12.
        index_rate: Proportion of retrieved features, 0 (off) .. 1. No effect on a voice without an index.
        protect: Keeps unvoiced consonants closer to the source when the index is used, 0 (most) .. 0.5 (off).
        rms_mix: Loudness: 0 follows the source, 1 keeps the voice's own.
        mix: Part of the second voice in a mix of two, 0..1.
        speaker: Speaker ID of a voice with several speakers.
        f0_method: One of `F0_METHODS`; an engine reads it when it is built.
        seed: Random seed of the synthesis noise; equal seeds give equal output.

    Raises:
        ParameterError: a value is out of range.
    """

    pitch_semitones: float = 0.0
    formant_semitones: float = 0.0
    index_rate: float = 0.75
    protect: float = 0.33
    rms_mix: float = 0.25
    mix: float = 0.5
    speaker: int = 0
    f0_method: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, parameter in VOICE_PARAMETERS.items():
            parameter.checked(getattr(self, name))
        if self.f0_method not in F0_METHODS:
            raise ParameterError(f"f0_method is {self.f0_method!r}; it must be one of {', '.join(F0_METHODS)}")


class Voice(Protocol):
    """What a voice is; `altervox.realtime` converts speech with it.

    Attributes:
        name: Name of the voice.
        kind: Decides which streaming stage renders it.
        sample_rate: The rate in Hz of its output, None if that follows the input.
        description: One line for lists.
        speakers: How many speakers it has, counted from 0 in `VoiceParams.speaker`.
        uses: Names of what changes its output: fields of `VoiceParams` and of `StreamConfig`, and "device". A voice
            that uses nothing changes nothing.
        lengths: Lengths of `StreamConfig` that the voice is bound to; empty for one that takes any.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> VoiceKind: ...
    @property
    def sample_rate(self) -> int | None: ...
    @property
    def description(self) -> str: ...
    @property
    def speakers(self) -> int: ...
    @property
    def uses(self) -> frozenset[str]: ...
    @property
    def lengths(self) -> Mapping[str, int]: ...


def check_speaker(voice: Voice, params: VoiceParams) -> None:
    """Raises ParameterError if the voice has several speakers, and not that many."""
    if "speaker" in voice.uses and params.speaker >= voice.speakers:
        known = "speaker 0 only" if voice.speakers == 1 else f"speakers 0 to {voice.speakers - 1}"
        raise ParameterError(f"speaker is {params.speaker}; {voice.name} has {known}: choose another --speaker")


def rescaled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Number of samples that last as long at `to_rate` as `samples` do at `from_rate` (rounded half up)."""
    return (samples * to_rate * 2 + from_rate) // (2 * from_rate)
