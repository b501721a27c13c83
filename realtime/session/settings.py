"""Settings that a session starts with: plain data, which can be sent to another process."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..config import StreamConfig
from .state import SessionState


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """Which effects a chain has; a change needs another chain.

    Attributes:
        suppress_noise: Whether RNNoise suppresses noise in the microphone.
        speech_level_db: RMS that the microphone's speech is slowly brought to; None to leave it.
        speech_gate: Probability of speech below which the gate closes; None for no gate.
    """

    suppress_noise: bool = False
    speech_level_db: float | None = None
    speech_gate: float | None = None

    @property
    def needs_rnnoise(self) -> bool:
        """Whether any effect uses RNNoise."""
        return self.suppress_noise or self.speech_level_db is not None or self.speech_gate is not None


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Settings that a session starts with.

    Attributes:
        state: Initial state of the session.
        config: Block size, other lengths and backend of the engines.
        device: Compute device of the networks: "auto", "cpu", "cuda", ...
        chain: Effects of the session.
        record_folder: Folder to record input and output to from the start; None for no recording.
        voices: Names of the voices that `StepVoice` steps through.
    """

    state: SessionState = field(default_factory=SessionState)
    config: StreamConfig = field(default_factory=StreamConfig)
    device: str = "auto"
    chain: ChainConfig = field(default_factory=ChainConfig)
    record_folder: Path | None = None
    voices: tuple[str, ...] = ()
