"""The recurrent half of a GRU (Cho et al. 2014, in cuDNN's form), all steps in one call over the caller's arrays."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from .types import FloatArray


@njit(nogil=True, cache=True, fastmath={"contract", "nsz"}, error_model="numpy")
def gru_steps(
    gates: FloatArray,
    weight: FloatArray,
    bias: FloatArray,
    state: FloatArray,
    backwards: bool,
    work: FloatArray,
    out: FloatArray,
) -> None:
    """Run one direction.

    Args:
        gates: What the inputs contribute to reset, update and new gate, with their bias `[T, 3 H]`.
        weight: Recurrent weights, transposed `[H, 3 H]`.
        bias: Recurrent bias `[3 H]`.
        state: Before the first step `[H]`; overwritten by the state after the last one.
        backwards: Whether to begin with the last step.
        work: Overwritten `[3 H]`.
        out: Filled with the state after each step `[T, H]`.
    """
    frames, hidden = out.shape
    one = np.float32(1.0)
    for step in range(frames):
        t = frames - 1 - step if backwards else step
        for i in range(3 * hidden):
            work[i] = bias[i]
        for k in range(hidden):
            h = state[k]
            for i in range(3 * hidden):
                work[i] += h * weight[k, i]
        for k in range(hidden):
            reset = one / (one + math.exp(-(gates[t, k] + work[k])))
            update = one / (one + math.exp(-(gates[t, hidden + k] + work[hidden + k])))
            new = math.tanh(gates[t, 2 * hidden + k] + reset * work[2 * hidden + k])
            state[k] = new + update * (state[k] - new)
            out[t, k] = state[k]
