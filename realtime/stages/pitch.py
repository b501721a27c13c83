"""Streaming RMVPE: F0 block by block, with the forward GRU state carried from block to block.

The network sees a short window of log-mel frames that begins on the stream's own grid of 32 frames (the U-Net halves
time five times), padded at the right by repeating the newest frame. The GRU runs over the block and what follows it:
left to right from the state that is carried, right to left from zero at the window's edge. What is carried is the
forward output at the last frame given out, so the frames after it, which will be computed again, advance it only once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.errors import ParameterError
from ...kernels.salience import N_BINS, decode_salience, decode_salience_into
from ...models.base_models import small_pitch_network, small_pitch_network_onnx_path
from ...models.pitch.mel import HOP, N_FFT, N_MELS, LogMel, MelWorkspace
from ...models.pitch.rmvpe import FRAME_MULTIPLE, RMVPE, RmvpeStep
from ..runners import Runner, make_runner
from ..runners.onnx import has_onnx_runtime
from .staging import Download, Upload

MEL_WAIT_FRAMES = 3  # a frame needs 512 samples beyond its centre, 3.2 hops; blocks end on the hop
_HALF = N_FFT // 2
_NO_SALIENCE = np.zeros((0, N_BINS), dtype=np.float32)
MOST_EARLY_SAMPLES = (MEL_WAIT_FRAMES + 1) * HOP - _HALF  # of a step: its newest frame waits longer than it must


@dataclass(slots=True)
class PitchStreamState:
    """What is carried.

    Attributes:
        audio_mem: The newest audio at 16 kHz: half an FFT before the next mel frame, and what follows.
        audio_length: Samples of it that are filled.
        mel_mem: The newest log-mel frames `[128, frames]`; the last one is frame `mel_frames - 1`.
        mel_frames: Mel frames computed since the start of the stream.
        h_mem: Forward GRU output at the last frame given out `[1, gru_size]`: the very buffer that the network reads
            and that each step updates.
        committed: Frames given out since the start of the stream.
        samples: Samples taken in since then.
    """

    audio_mem: NDArray[np.float32]
    audio_length: int
    mel_mem: NDArray[np.float32]
    mel_frames: int
    h_mem: Tensor
    committed: int
    samples: int

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.audio_length = self.mel_frames = self.committed = self.samples = 0
        self.audio_mem[:] = 0.0
        self.mel_mem[:] = 0.0
        self.h_mem.zero_()


class StreamingRMVPE:
    """F0 of a stream.

    Args:
        model: Any network of RMVPE's shape; or what runs an exported step of one, which has the further input
            `valid_rows`, the number of its rows that count.
        block_frames: Frames of 10 ms given out per step.
        right_frames: Further frames that the backward direction of the GRU sees. Each adds 10 ms of delay.
        window_frames: Frames that the U-Net sees, a multiple of 32; None takes the least that leaves 32 or more frames
            of past.
        backend: See `make_runner`; with a graph also `onnx` or `onnx-cuda`.
        graph: File that `models.export.rmvpe.export_step` wrote of the very model, for ONNX Runtime on its device.
        early_samples: By how much the steps precede the stream's grid of blocks, at most 128, which a step can spare:
            for whoever can only give the audio of blocks that are that much too short.

    Raises:
        ParameterError: the lengths do not fit one another, or the backend cannot run here.
    """

    def __init__(
        self,
        model: RMVPE | Runner,
        block_frames: int = 2,
        right_frames: int = 2,
        window_frames: int | None = None,
        backend: str = "eager",
        graph: Path | None = None,
        early_samples: int = 0,
    ) -> None:
        if block_frames < 1 or right_frames < 0:
            raise ParameterError(f"block_frames is {block_frames} and right_frames {right_frames}; at least 1 and 0")
        least = least_window(block_frames, right_frames)
        self.window_frames = window_frames or least
        if self.window_frames % FRAME_MULTIPLE or self.window_frames < least:
            raise ParameterError(
                f"window_frames is {window_frames}; with these blocks it must be a multiple of 32 from {least} on"
            )
        if not 0 <= early_samples <= MOST_EARLY_SAMPLES:
            raise ParameterError(f"early_samples is {early_samples}; it must lie between 0 and {MOST_EARLY_SAMPLES}")
        self.block_frames = block_frames
        self.right_frames = right_frames
        self.early_samples = early_samples
        self._step_module: RmvpeStep | None = None
        self._valid_rows: Tensor | None = None
        if isinstance(model, RMVPE):
            self._log_mel = model.mel
            self._step_module = RmvpeStep(model, block_frames + right_frames, self.window_frames)
            network = graph if graph is not None and backend.startswith("onnx") else self._step_module
            self.runner = make_runner(self._step_module.spec, network, backend)
            device = model.cnn.weight.device
            runs_on = self.runner.inputs["mel"].device
            if runs_on != device:
                raise ParameterError(f"backend {backend} runs on {runs_on}, and the pitch network is on {device}")
        else:
            self._log_mel, self.runner = LogMel(), model
            self._valid_rows = model.inputs["valid_rows"].fill_(block_frames + right_frames)
        self.runner.inputs["last_row"].fill_(block_frames - 1)
        self._row_numbers = np.arange(block_frames + right_frames)
        self._mel, self._rows = Upload(self.runner.inputs["mel"]), Upload(self.runner.inputs["rows"])
        self._salience = Download(self.runner.outputs["salience"])
        most_frames = block_frames + MEL_WAIT_FRAMES + 1
        self._mel_workspace = MelWorkspace.allocate(most_frames)
        self._mel_scratch = np.zeros((N_MELS, most_frames), dtype=np.float32)
        self.state = PitchStreamState(
            audio_mem=np.zeros(2 * N_FFT + (block_frames + MEL_WAIT_FRAMES + 1) * HOP, dtype=np.float32),
            audio_length=0,
            mel_mem=np.zeros((N_MELS, self.window_frames), dtype=np.float32),
            mel_frames=0,
            h_mem=self.runner.inputs["h_in"],
            committed=0,
            samples=0,
        )

    @property
    def latency_frames(self) -> int:
        """Frames of 10 ms by which what is given out lags behind what was taken in."""
        return MEL_WAIT_FRAMES + self.right_frames

    def reset(self) -> None:
        """Return to the start of a stream, in place."""
        self.state.reset()

    def push(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take in audio of any length.

        The steps lie on the stream's own grid of blocks, so the pieces in which audio comes make no difference.

        Args:
            audio: 16 kHz mono [N].

        Returns:
            F0 in Hz of the frames that are final now, 0 where unvoiced; the first one ever is frame 0, centred on the
            first sample.
        """
        return decode_salience(self.push_salience(audio))

    @torch.inference_mode()
    def push_into(self, audio: NDArray[np.float32], out: NDArray[np.float32]) -> int:
        """As `push`, into the first values of `out`, of which there are enough; returns how many."""
        count = 0
        for salience in self._steps(audio):
            decode_salience_into(salience, out[count : count + len(salience)])
            count += len(salience)
        return count

    @torch.inference_mode()
    def push_salience(self, audio: NDArray[np.float32]) -> NDArray[np.float32]:
        """As `push`, but salience [frames, 360]."""
        return np.concatenate([_NO_SALIENCE, *(salience.copy() for salience in self._steps(audio))])

    def _steps(self, audio: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
        """Take in audio; the salience of each step that it completes is valid until the next one."""
        state = self.state
        block = self.block_frames * HOP
        while len(audio):
            taken = audio[: block - (state.samples + self.early_samples) % block]
            audio = audio[len(taken) :]
            self._take(taken)
            nominal = state.samples + self.early_samples
            if nominal % block == 0:
                self._extend_mel()
                yield self._step(nominal // HOP - self.latency_frames - state.committed)

    def _take(self, audio: NDArray[np.float32]) -> None:
        state = self.state
        state.audio_mem[state.audio_length : state.audio_length + len(audio)] = audio
        state.audio_length += len(audio)
        state.samples += len(audio)

    def _extend_mel(self) -> None:
        """Compute the mel frames whose audio is complete, each once."""
        state = self.state
        due = (state.samples - _HALF) // HOP + 1 - state.mel_frames
        if due <= 0:
            return
        if state.mel_frames == 0:  # the true start: mirrored
            mirrored = np.pad(state.audio_mem[: state.audio_length], (_HALF, 0), mode="reflect")
            state.audio_length = len(mirrored)
            state.audio_mem[: len(mirrored)] = mirrored
        frames = self._mel_scratch[:, :due]
        self._log_mel.frames_into(state.audio_mem[: N_FFT + (due - 1) * HOP], self._mel_workspace, frames)
        self._append(frames)
        # Keep what the next frame needs: from half an FFT before its centre on.
        keep_from = state.mel_frames * HOP - _HALF - (state.samples - state.audio_length)
        if keep_from > 0:
            kept = state.audio_length - keep_from
            state.audio_mem[:kept] = state.audio_mem[keep_from : state.audio_length]
            state.audio_length = kept

    def _append(self, frames: NDArray[np.float32]) -> None:
        state, count = self.state, frames.shape[1]
        state.mel_frames += count
        # As one line, which NumPy shifts in place; what crosses from row to row is overwritten at once.
        line = state.mel_mem.reshape(-1)
        line[:-count] = line[count:]
        state.mel_mem[:, -count:] = frames

    def _step(self, frames: int) -> NDArray[np.float32]:
        """Salience of the next `frames` frames, advancing the carried state; the next step may overwrite it."""
        state = self.state
        if frames <= 0:
            return _NO_SALIENCE
        start = max(-(-(state.mel_frames - self.window_frames) // FRAME_MULTIPLE) * FRAME_MULTIPLE, 0)
        known, first = state.mel_frames - start, state.committed - start
        window = self._mel.array[0]
        window[:, :known] = state.mel_mem[:, self.window_frames - known :]
        window[:, known:] = state.mel_mem[:, -1:]
        self._mel.send()
        state.committed += frames
        is_short = (frames, known - first) != (self.block_frames, len(self._row_numbers))
        if self._step_module is None or not is_short:
            if self._valid_rows is not None:
                self._valid_rows.fill_(known - first)
                self.runner.inputs["last_row"].fill_(frames - 1)
            np.add(self._row_numbers, first, out=self._rows.array[0])
            self._rows.send()
            self.runner.run()
            return self._salience.receive()[0, :frames]
        # The stream's first frames: the same step in a shape of their own, which no graph holds.
        device = state.h_mem.device
        rows, last_row = torch.arange(first, known, device=device), torch.tensor([[frames - 1]], device=device)
        salience, h_out = self._step_module(self.runner.inputs["mel"], rows[None], last_row, state.h_mem)
        state.h_mem.copy_(h_out)
        found: NDArray[np.float32] = salience[0, :frames].cpu().numpy()
        return found


def least_window(block_frames: int, right_frames: int) -> int:
    """Frames of the shortest window with 32 or more frames of past, a multiple of 32."""
    return -(-(block_frames + right_frames) // FRAME_MULTIPLE) * FRAME_MULTIPLE + FRAME_MULTIPLE


def streaming_pitch(
    model: RMVPE | None,
    block_frames: int,
    right_frames: int,
    device: torch.device,
    backend: str = "auto",
    early_samples: int = 0,
) -> StreamingRMVPE:
    """F0 of a stream by the network that ships with altervox, or by another.

    Args:
        model: On `device`; None for the network that ships.
        block_frames: See `StreamingRMVPE`, as for what is not named here.
        right_frames: See there.
        device: Device that the network runs on.
        backend: `auto` runs the network that ships in ONNX Runtime on a CPU if that is installed, three to four times
            as fast there as `eager`; for all other cases see `make_runner`.
        early_samples: See `StreamingRMVPE`.

    Raises:
        ParameterError: the lengths are out of range, or the backend cannot run here.
    """
    graph = None
    if model is None:
        model, graph = small_pitch_network(device), small_pitch_network_onnx_path()
    if backend == "auto":
        is_best_in_onnx = graph is not None and device.type == "cpu" and has_onnx_runtime()
        backend = "onnx" if is_best_in_onnx else "auto"
    return StreamingRMVPE(model, block_frames, right_frames, None, backend, graph, early_samples)
