"""What a voice is: one small interface for DSP, neural and RVC voices, and the parameters that all of them take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

from ..kernels.errors import ParameterError
from ..kernels.types import AnyFloatArray
from .parameters import VOICE_PARAMETERS

VoiceKind = Literal["dsp", "neural", "rvc", "exported"]

F0_METHODS: dict[str, str] = {
    "auto": "rmvpe-small",
    "rmvpe-small": "a small RMVPE that ships with altervox: neural, robust to noise, fast on a CPU",
    "rmvpe": "RMVPE as published, 100 times as large: for a GPU or for patience; fetches rmvpe.pt (181 MB)",
    "harvest": "WORLD's Harvest: careful, slower, for clean speech; files with --quality offline only",
    "dio": "WORLD's DIO with StoneMask: for clean speech; files with --quality offline only",
}
STREAMING_F0_METHODS = ("auto", "rmvpe-small", "rmvpe")


@dataclass(frozen=True, slots=True)
class VoiceParams:
    """How a voice is to be rendered. Frozen: change it with `dataclasses.replace`.

    Every voice takes all of them and ignores what it has no use for (a DSP voice has no index and no speakers).

    Attributes:
        pitch_semitones: Added to the voice's own pitch shift, -36..36.
        formant_semitones: Formant shift without a pitch shift, -12..12.
        index_rate: Proportion of retrieved features, 0 (off) .. 1. No effect on a voice without an index.
        protect: Keeps unvoiced consonants closer to the source when the index is used, 0 (most) .. 0.5 (off).
        rms_mix: Loudness: 0 follows the source, 1 keeps the voice's own.
        speaker: Speaker ID of a voice with several speakers.
        f0_method: One of `F0_METHODS`; an engine takes those of `STREAMING_F0_METHODS`, and reads it as it is built.
        seed: Of the noise that voices draw; equal seeds give equal output.

    Raises:
        ParameterError: a value is out of range.
    """

    pitch_semitones: float = 0.0
    formant_semitones: float = 0.0
    index_rate: float = 0.75
    protect: float = 0.33
    rms_mix: float = 0.25
    speaker: int = 0
    f0_method: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, parameter in VOICE_PARAMETERS.items():
            parameter.checked(getattr(self, name))
        if self.f0_method not in F0_METHODS:
            known = "; ".join(f"{name} ({what})" for name, what in F0_METHODS.items())
            raise ParameterError(f"f0_method is {self.f0_method!r}; choose one of {known}")


class Voice(Protocol):
    """Something that turns speech into another voice.

    Attributes:
        name: How the user calls it.
        kind: What it is made of.
        sample_rate: The rate in Hz at which it renders, None if it follows the input.
        description: One line for lists.
    """

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> VoiceKind: ...
    @property
    def sample_rate(self) -> int | None: ...
    @property
    def description(self) -> str: ...

    def output_rate(self, input_rate: int) -> int:
        """The rate in Hz of what `convert` yields for input at `input_rate` Hz."""
        ...

    def convert(
        self, blocks: Iterable[AnyFloatArray], sample_rate: int, params: VoiceParams
    ) -> Iterator[AnyFloatArray]:
        """Convert mono audio that arrives in blocks of any size, in bounded memory.

        Args:
            blocks: Mono float arrays [N], nominally within -1..1, float32 or float64.
            sample_rate: Their rate in Hz.
            params: How to render.

        Yields:
            Mono float arrays at `output_rate(sample_rate)`. All together they last as long as the input:
            `rescaled_length(total, sample_rate, output_rate)` samples, time-aligned with it. They may exceed -1..1.
        """
        ...


def rescaled_length(samples: int, from_rate: int, to_rate: int) -> int:
    """Number of samples that last as long at `to_rate` as `samples` do at `from_rate` (rounded half up)."""
    return (samples * to_rate * 2 + from_rate) // (2 * from_rate)
