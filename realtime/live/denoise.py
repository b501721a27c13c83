"""Noise suppression by RNNoise (Valin 2018, arXiv:1709.08243), from the library in the package pyrnnoise."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...kernels.errors import MissingDependencyError, ParameterError

SAMPLE_RATE = 48000
FRAME = 480
LATENCY_SAMPLES = 960
_FULL_SCALE = 32768.0
_LIBRARIES = {"linux": "librnnoise.so", "darwin": "librnnoise.dylib", "win32": "rnnoise.dll"}


class NoiseSuppressor:
    """A running suppressor.

    Only the package's compiled library is used: its Python part would bring plotting and file libraries along.

    Attributes:
        speech_probability: Of the last frame of 10 ms, 0..1.

    Args:
        sample_rate: Hz; RNNoise knows 48000 only.

    Raises:
        ParameterError: another rate.
        MissingDependencyError: pyrnnoise is not installed, or its library does not load.
    """

    def __init__(self, sample_rate: int = SAMPLE_RATE) -> None:
        if sample_rate != SAMPLE_RATE:
            raise ParameterError(f"noise suppression works at 48000 Hz, and the output is at {sample_rate} Hz")
        self._library = _load()
        self._state = self._library.rnnoise_create(None)
        self.speech_probability = 0.0

    def process(self, block: NDArray[np.float32]) -> None:
        """Suppress noise in a block of whole frames [k * 480], in place; the output is 20 ms late."""
        block *= np.float32(_FULL_SCALE)
        address = block.ctypes.data
        for at in range(0, len(block), FRAME):
            frame = ctypes.c_void_p(address + at * block.itemsize)
            self.speech_probability = self._library.rnnoise_process_frame(self._state, frame, frame)
        block *= np.float32(1.0 / _FULL_SCALE)

    def close(self) -> None:
        """Free its memory; it must not be used afterwards."""
        self._library.rnnoise_destroy(self._state)


def _load() -> ctypes.CDLL:
    spec = importlib.util.find_spec("pyrnnoise")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("noise suppression needs RNNoise: pip install 'altervox[denoise]'")
    path = Path(spec.submodule_search_locations[0]) / _LIBRARIES.get(sys.platform, "librnnoise.so")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingDependencyError(f"RNNoise does not load ({error}): reinstall pyrnnoise") from error
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.rnnoise_process_frame.restype = ctypes.c_float
    return library
