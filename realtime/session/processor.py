"""A session without devices: one block of a microphone in, one block of output out, commands in between.

    block ─► chain.before ─► engine (voice, swap, bypass) ─► chain.after ─► out
                        └──────────────── recorder ───────────────┘

A sound card, a file or a socket feeds it. Nothing that fails in a block ends it: the block is silent, the failure is
counted, and its cause is shown until it is resolved.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from ...kernels.finite import silence_nonfinite
from ...kernels.types import FloatArray
from ...models.library import load_voice
from ...models.voice import Voice, check_speaker
from ..engine import Engine
from ..swap import SwappableEngine
from .block_times import BlockTimes
from .chain import Chain
from .commands import Command, Record, SetVoice, StepVoice
from .recorder import Recorder
from .settings import SessionSettings
from .voice_change import VoiceChange

log = logging.getLogger(__name__)


class Processor:
    """Effects, engine and voice change as one processor of blocks.

    `process` is called on one thread, `do` on that or one other thread; properties may be read on any thread.

    Args:
        settings: Settings that the session starts with.
        voice: The first voice if it is loaded already.
        prepare_thread: Called once on each thread that works beside `process`, for example to set its priority.

    Attributes:
        state: Requested state.
        sounding: Name or path of the voice that is heard.
        chain: The effects.
        engine: Engine of the voice, replaceable while it runs.
        times: Processing times of the last blocks.
        blocks: Number of blocks processed.
        late_blocks: Blocks that were skipped because they were late.
        refusal: Why the last command was not applied; empty where it was.

    Raises:
        AltervoxError: the voice cannot be loaded, or the recording cannot be started.
    """

    def __init__(
        self,
        settings: SessionSettings,
        voice: Voice | None = None,
        prepare_thread: Callable[[], object] = lambda: None,
    ) -> None:
        self.settings = settings
        self.state = settings.state
        self.sounding = settings.state.voice
        self._voice = voice or load_voice(self.sounding, settings.device)
        self.engine = SwappableEngine(Engine(self._voice, settings.config, self.state.params))
        self.engine.bypass = self.state.bypass
        self.sample_rate, self.block_size = self.engine.sample_rate, self.engine.block_size
        self.chain = Chain.allocate(self.sample_rate, self.block_size, settings.chain, self.state)
        self.times = BlockTimes()
        self.blocks = self.late_blocks = 0
        self._input_peak = self._output_peak = 0.0
        self._failed_blocks = 0
        self._cause = ""
        self.refusal = ""
        self._recorder: Recorder | None = None
        self._recording_error = ""
        # One thread, so that recordings begin and end in the order of the commands.
        self._prepare_thread = prepare_thread
        self._recordings = ThreadPoolExecutor(1, "recording", prepare_thread)
        self._voice_change = VoiceChange(self._build, self._take_over, prepare_thread)
        self._block_scratch, self._heard_scratch = np.zeros((2, self.block_size), dtype=np.float32)
        if settings.record_folder is not None:
            self.start_recording(settings.record_folder)

    @property
    def latency_samples(self) -> int:
        """Latency from input to output in samples, without the block itself."""
        return self.engine.latency_samples + self.chain.latency_samples

    @property
    def failed_blocks(self) -> int:
        """Blocks that were silenced because of an exception."""
        return self._failed_blocks + self.engine.failed_blocks

    @property
    def nonfinite_blocks(self) -> int:
        """Blocks of the voice that were silenced because they held NaN or infinite samples."""
        return self.engine.nonfinite_blocks

    @property
    def is_loading(self) -> bool:
        """Whether another voice is being loaded."""
        return self._voice_change.is_busy

    @property
    def recording(self) -> tuple[Path, ...]:
        """The files that are being written."""
        recorder = self._recorder
        return tuple(recorder.paths) if recorder is not None and recorder.is_running else ()

    @property
    def recording_error(self) -> str:
        """Problem of the recording, kept after it has ended; empty for none."""
        recorder = self._recorder
        return recorder.error if recorder is not None and recorder.error else self._recording_error

    @property
    def causes(self) -> tuple[str, ...]:
        """Current problems, one sentence each; each disappears when it is resolved."""
        causes = (self._cause, self.engine.cause, self._voice_change.cause, self.recording_error, self.refusal)
        return tuple(cause for cause in causes if cause)

    def process(self, block: FloatArray, out: FloatArray, is_late: bool = False) -> None:
        """Convert the next block. If anything raises, the block is silent and the next one is tried.

        Args:
            block: Mono [block_size]; NaN and infinite samples count as silence.
            out: Filled [block_size].
            is_late: Whether the block is late: it is not rendered, but the state advances.
        """
        started_s = time.perf_counter()
        heard = self._heard_scratch
        np.copyto(heard, block)
        silence_nonfinite(heard)
        self._input_peak = max(self._input_peak, float(heard.max()), -float(heard.min()))
        try:
            np.copyto(self._block_scratch, heard)
            self.chain.state = self.state
            self.chain.before(self._block_scratch)
            if is_late:
                self.late_blocks += 1
                self.engine.skip(self._block_scratch, out)
            else:
                self.engine.process(self._block_scratch, out)
            self.chain.after(out, self.engine.latency_samples)
            self._cause = ""
        except Exception as error:
            self._failed_blocks += 1
            self._cause = str(error).splitlines()[0] if str(error) else type(error).__name__
            log.warning("a block failed: %s", self._cause, exc_info=self._failed_blocks == 1)
            out[:] = 0.0
            self.chain.reset()
        self._output_peak = max(self._output_peak, float(out.max()), -float(out.min()))
        self._note_recording(heard, out)
        self.blocks += 1
        self.times.note(time.perf_counter() - started_s)

    def _note_recording(self, block: FloatArray, out: FloatArray) -> None:
        """Hand a block to the recording, which ends if it fails: the sound goes on."""
        recorder = self._recorder
        if recorder is None:
            return
        try:
            recorder.take(block, out)
        except Exception as error:
            self._recording_error = f"the recording has ended: {str(error) or type(error).__name__}"
            log.warning("%s", self._recording_error, exc_info=True)
            self._recorder = None
            self._recordings.submit(recorder.close)

    def do(self, *commands: Command) -> None:
        """Apply commands: of those that change the state, all or none.

        Raises:
            AltervoxError: one is invalid; the state has not changed.
        """
        state = self.state
        for command in commands:
            if isinstance(command, Record):
                self._recordings.submit(self._record, command.folder)
            else:
                state = state.after(command, self.settings.voices)
        if state.params != self.state.params and state.voice == self.sounding:  # else once the voice is built
            check_speaker(self._voice, state.params)
        self.state = state
        self.engine.params, self.engine.bypass = state.params, state.bypass
        if any(isinstance(command, SetVoice | StepVoice) for command in commands):
            self._voice_change.want(state.voice)
        else:
            self.engine.retry()

    def try_to(self, *commands: Command) -> None:
        """Apply commands; an invalid one is reported as a cause until this is called again."""
        self.refusal = ""
        try:
            self.do(*commands)
        except Exception as error:  # whatever a client sends, the session goes on
            self.refusal = str(error) or type(error).__name__
            log.warning("%s", self.refusal)

    def take_peaks(self) -> tuple[float, float]:
        """Peaks of input and output since this was called last."""
        peaks = self._input_peak, self._output_peak
        self._input_peak = self._output_peak = 0.0
        return peaks

    def release(self) -> None:
        """Free replaced engines. Called from time to time, never on the thread that calls `process`."""
        self.engine.release()

    def reset(self) -> None:
        """Return to the start of a stream, in place; counts and times start anew."""
        self.engine.reset()
        self.chain.reset()
        self.times = BlockTimes()
        self.blocks = self.late_blocks = self._failed_blocks = 0
        self._cause = ""

    def close(self) -> None:
        """End the recording."""
        self._recordings.submit(self._record, None)
        self._recordings.shutdown()

    def start_recording(self, folder: Path) -> None:
        """Record input and output from the next block on.

        Raises:
            OutputError: the files cannot be made.
        """
        self._recorder = Recorder(folder, self.sample_rate, self._prepare_thread)

    def adopt_recording(self, other: Processor) -> None:
        """Go on with the recording of another processor of the same rate, which ends."""
        other._recordings.shutdown()
        self._recorder, other._recorder = other._recorder, None
        self._recording_error = other._recording_error

    def _record(self, folder: Path | None) -> None:
        """End the recording and perhaps begin another; waits for the disk."""
        recorder, self._recorder = self._recorder, None
        try:
            if recorder is not None:
                recorder.close()
                self._recording_error = recorder.error
            if folder is not None:
                self._recording_error = ""
                self.start_recording(folder)
        except Exception as error:
            self._recording_error = str(error) or type(error).__name__
            log.warning("%s", self._recording_error)

    def _build(self, voice: str) -> Engine:
        return Engine(load_voice(voice, self.settings.device), self.settings.config, self.state.params)

    def _take_over(self, voice: str, engine: Engine) -> None:
        """Change to a voice that is ready; on the thread that has built it."""
        check_speaker(engine.voice, self.state.params)
        self.engine.swap_to(engine)
        self._voice, self.sounding = engine.voice, voice
