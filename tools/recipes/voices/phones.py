"""Which phones are said in a recording, as hama's recogniser hears them: what the code of the encoder is to tell, too.

The recogniser's probabilities are spikes of one frame with blanks between them. Each spike is spread over the frames
around it, so that every frame tells which phone is near.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import scipy.signal

from ....kernels.types import FloatArray
from .meters import package

FRAME = 320  # samples at 16 kHz
KINDS = 191  # the recogniser's symbols, of which the last stands for no phone
_PIECE, _EDGE = 300, 25  # frames: the recogniser reads pieces of 6 s with half a second on either side
_SPREAD = 1.5  # frames: standard deviation of a spread spike
_NONE = 0.05  # of a spike: as near is no phone


def phones_in(audio: FloatArray) -> FloatArray:
    """Probability of each phone, and of none, in each frame of 20 ms [T, KINDS].

    Args:
        audio: At 16 kHz [N].

    Raises:
        MissingDependencyError: hama is not installed.
    """
    recogniser = _recogniser()
    frames = -(-len(audio) // FRAME)
    spikes = np.zeros((frames, KINDS), dtype=np.float32)
    for start in range(0, frames, _PIECE):
        first, end = max(start - _EDGE, 0), min(start + _PIECE, frames)
        piece = audio[first * FRAME : (end + _EDGE) * FRAME]
        piece = np.pad(piece, (0, max(10 * FRAME - len(piece), 0)))
        feeds = {"waveform": piece[None], "waveform_lengths": np.array([len(piece)])}
        spikes[start:end] = np.exp(recogniser.session.run(["log_probs"], feeds)[0][0][start - first : end - first])
    spikes[:, [i for i, symbol in enumerate(recogniser.decoder_tokens) if symbol.startswith("<")]] = 0.0
    return spread(spikes)


def spread(spikes: FloatArray) -> FloatArray:
    """Probabilities [T, KINDS] from those of phones in single frames [T, KINDS]."""
    near = np.exp(-0.5 * np.square(np.arange(-4, 5) / _SPREAD))
    phones = scipy.signal.convolve(spikes, near[:, None], "same").clip(min=0.0)
    phones[:, -1] = _NONE
    return np.asarray(phones / phones.sum(axis=1, keepdims=True), dtype=np.float32)


@cache
def _recogniser() -> Any:
    return package("hama").ASRModel()
