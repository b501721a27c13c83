"""RNNoise (Valin 2018, arXiv:1709.08243) from the package pyrnnoise: noise suppression and speech detection."""

from __future__ import annotations

import ctypes
import importlib.util
import sys
import weakref
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...kernels.errors import MissingDependencyError, ParameterError
from ...kernels.extras import how_to_install

SAMPLE_RATE = 48000
FRAME = 480
LATENCY_SAMPLES = 960
_FULL_SCALE = 32768.0
_LIBRARIES = {"linux": "librnnoise.so", "darwin": "librnnoise.dylib", "win32": "rnnoise.dll"}


class NoiseSuppressor:
    """A running suppressor.

    Only the package's compiled library is used: its Python part would bring plotting and file libraries along.

    Args:
        sample_rate: Hz; RNNoise supports 48000 only.

    Raises:
        ParameterError: another rate.
        MissingDependencyError: pyrnnoise is not installed, or its library does not load.
    """

    def __init__(self, sample_rate: int = SAMPLE_RATE) -> None:
        if sample_rate != SAMPLE_RATE:
            raise ParameterError(
                f"noise suppression and speech detection work at 48000 Hz, and the output is at {sample_rate} Hz: "
                "choose another output, or leave out --denoise, --speech-gate and --speech-level-db"
            )
        self._library = _load()
        self._state = self._library.rnnoise_create(None)
        weakref.finalize(self, self._library.rnnoise_destroy, self._state)

    def process(self, block: NDArray[np.float32], probability: NDArray[np.float32]) -> None:
        """Suppress noise in whole frames of 10 ms.

        Args:
            block: Samples [k * 480]; replaced in place by output that is 20 ms late.
            probability: Filled with the probability of speech in each frame of the input, 0..1, without delay [k].

        Raises:
            ParameterError: the lengths do not match, which the library would not detect.
        """
        if len(block) != len(probability) * FRAME:
            raise ParameterError(f"{len(block)} samples are not {len(probability)} frames of {FRAME}")
        block *= np.float32(_FULL_SCALE)
        address = block.ctypes.data
        for k in range(len(probability)):
            frame = ctypes.c_void_p(address + k * FRAME * block.itemsize)
            probability[k] = self._library.rnnoise_process_frame(self._state, frame, frame)
        block *= np.float32(1.0 / _FULL_SCALE)

    def reset(self) -> None:
        """Return to the start of a stream."""
        self._library.rnnoise_init(self._state, None)


def _load() -> ctypes.CDLL:
    spec = importlib.util.find_spec("pyrnnoise")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"noise suppression and speech detection need RNNoise: {how_to_install('denoise')}"
        )
    path = Path(spec.submodule_search_locations[0]) / _LIBRARIES.get(sys.platform, "librnnoise.so")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise MissingDependencyError(f"RNNoise does not load ({error}): reinstall pyrnnoise") from error
    library.rnnoise_create.argtypes = [ctypes.c_void_p]
    library.rnnoise_create.restype = ctypes.c_void_p
    library.rnnoise_init.argtypes = [ctypes.c_void_p] * 2
    library.rnnoise_destroy.argtypes = [ctypes.c_void_p]
    library.rnnoise_process_frame.argtypes = [ctypes.c_void_p] * 3
    library.rnnoise_process_frame.restype = ctypes.c_float
    return library
