"""What the engine asks of the part that makes the voice."""

from __future__ import annotations

from typing import Any, Protocol

from ...kernels.speaker import SpeakerState
from ...kernels.types import FloatArray
from ...models.voice import VoiceParams


class VoiceStage(Protocol):
    """Turns blocks at one rate into blocks of another voice at another, each lasting as long.

    Attributes:
        input_rate: Hz.
        output_rate: Hz.
        latency_samples: Latency of the output in samples at the output rate.
        state: All that is carried from block to block: a dataclass.
        f0_hz: The speaker's newest F0, before any shift; 0 where unvoiced or not asked for.
        output_f0_hz: F0 at the end of the last rendered block; 0 where unvoiced or not known.
        speaker: Estimate of the speaker; None for a stage that does not depend on it. A new stage continues from
            what another one knows by `speaker.adopt`, after `reset`, which forgets the speaker.
    """

    @property
    def input_rate(self) -> int: ...
    @property
    def output_rate(self) -> int: ...
    @property
    def latency_samples(self) -> int: ...
    @property
    def state(self) -> Any: ...
    @property
    def f0_hz(self) -> float: ...
    @property
    def output_f0_hz(self) -> float: ...
    @property
    def speaker(self) -> SpeakerState | None: ...

    def process(self, block: FloatArray, params: VoiceParams, out: FloatArray) -> None:
        """Render the next block.

        Args:
            block: [block_ms at `input_rate`].
            params: Parameters of the voice; may change with every block.
            out: Filled [block_ms at `output_rate`].
        """
        ...

    def advance(self, block: FloatArray, params: VoiceParams) -> None:
        """Let a block pass whose output comes too late to be heard.

        Whatever is known of the input goes on as in `process`: windows, F0, carried phase, frame indices and what was
        learnt of the speaker. The next block rendered therefore has the delay and the phase that it would have had.
        What was rendered ahead for a crossfade with this block is dropped: the engine fades the next one in. Rendering
        is left out wherever the state does not depend on it.

        Args:
            block: [block_ms at `input_rate`].
            params: Parameters with which the block would have been rendered.
        """
        ...

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        ...
