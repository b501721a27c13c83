"""RMVPE's log-mel front end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...kernels.mel_bands import MelBands, log_bands

SAMPLE_RATE = 16000
N_FFT = 1024
HOP = 160
N_MELS = 128
F_MIN_HZ = 30.0
F_MAX_HZ = 8000.0
LOG_FLOOR = 1e-5


def mel_filterbank() -> Tensor:
    """Triangular filters [128, 513] on the HTK mel scale, each of unit area in Hz (Slaney's normalisation)."""

    def to_mel(hz: float) -> float:
        return 2595.0 * math.log10(1.0 + hz / 700.0)

    mels = np.linspace(to_mel(F_MIN_HZ), to_mel(F_MAX_HZ), N_MELS + 2)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = np.linspace(0.0, SAMPLE_RATE / 2, N_FFT // 2 + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)).clip(min=0.0)
    return torch.from_numpy((triangles * 2.0 / (right - left)).astype(np.float32))


@dataclass(slots=True)
class MelWorkspace:
    """Buffers of `LogMel.frames_into`.

    Attributes:
        rows: Windowed audio [frames, N_FFT].
        double_rows: Windowed rows in double precision.
        double_spectra: Spectra of it [frames, bins].
        spectra: Spectra in single precision.
        magnitude: Magnitudes of one of them [bins].
    """

    rows: NDArray[np.float32]
    double_rows: NDArray[np.float64]
    double_spectra: NDArray[np.complex128]
    spectra: NDArray[np.complex64]
    magnitude: NDArray[np.float32]

    @classmethod
    def allocate(cls, frames: int) -> MelWorkspace:
        """Buffers for up to so many frames."""
        bins = N_FFT // 2 + 1
        return cls(
            np.zeros((frames, N_FFT), dtype=np.float32),
            np.zeros((frames, N_FFT)),
            np.zeros((frames, bins), dtype=np.complex128),
            np.zeros((frames, bins), dtype=np.complex64),
            np.zeros(bins, dtype=np.float32),
        )


class LogMel(nn.Module):
    """Natural log of the mel-band magnitudes, frame j centred on sample 160 j.

    Shapes:
        input `[B, N]` at 16 kHz, N > 512 when reflected; output `[B, 128, N // 160 + 1]`.
    """

    basis: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        # On the CPU even while a network is built without memory, for no file holds them.
        self.register_buffer("basis", mel_filterbank(), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT, device="cpu"), persistent=False)
        self._bands = MelBands.of(self.basis.numpy())
        self._window = self.window.numpy().copy()

    def forward(self, audio: Tensor) -> Tensor:
        """Frames over the whole signal, reflected at both ends."""
        return self.frames(nn.functional.pad(audio[:, None], (N_FFT // 2, N_FFT // 2), mode="reflect")[:, 0])

    def frames(self, padded: Tensor) -> Tensor:
        """Frames `[B, 128, (N - 1024) // 160 + 1]` of audio `[B, N]` that holds its own context of 512 samples."""
        spectrum = torch.stft(padded, N_FFT, HOP, window=self.window, center=False, return_complex=True)
        return torch.log(torch.clamp(self.basis @ spectrum.abs(), min=LOG_FLOOR))

    def frames_into(self, padded: NDArray[np.float32], workspace: MelWorkspace, out: NDArray[np.float32]) -> None:
        """As `frames`, `[N]` into `out` `[128, frames]`, without torch: for a block's few frames that costs a third."""
        w, count = workspace, out.shape[1]
        for i in range(count):
            np.multiply(padded[i * HOP : i * HOP + N_FFT], self._window, out=w.rows[i])
        # In double precision, as NumPy computes it anyway: given single precision, it allocates buffers to convert it.
        np.copyto(w.double_rows, w.rows)
        np.fft.rfft(w.double_rows[:count], out=w.double_spectra[:count])
        np.copyto(w.spectra, w.double_spectra, casting="same_kind")
        log_bands(w.spectra[:count], self._bands.first_bins, self._bands.weights, LOG_FLOOR, w.magnitude, out)
