"""Weights drawn from (seed, tensor name): the reference vectors were made with them, so no weight file is needed.

A tensor's numbers are raw words of a Philox generator keyed by the SHA-256 of "seed:name", turned into odd multiples
of 2^-24, hence the same on every platform and NumPy release. Their scale depends on what the tensor is (`SCALES`).
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Shape = Sequence[int]

# What a name means for its numbers, first match wins: ("about", mean, deviation), or ("fan", gain) for a deviation of
# gain / sqrt(inputs of one output).
SCALES: list[tuple[str, tuple[Any, ...]]] = [
    (r"unet\.encoder\.bn\.running_mean$", ("about", -5.0, 0.2)),
    (r"unet\.encoder\.bn\.running_var$", ("about", 5.0, 0.5)),
    (r"running_var$", ("about", 1.0, 0.15)),
    (r"running_mean$|\.beta$", ("about", 0.0, 0.1)),
    (r"\.gamma$", ("about", 1.0, 0.1)),
    (r"(^|\.)enc_p\.proj\.weight$", ("fan", 0.35)),
    (r"emb_rel_[kv]$", ("last", 1.0)),
    (r"emb_pitch\.weight$|label_embs_concat$|mask_emb$|masked_spec_embed$", ("about", 0.0, 0.3)),
    (r"emb_g\.weight$", ("about", 0.0, 0.5)),
    (r"m_source\.l_linear\.weight$", ("about", 1.0, 0.1)),
    (r"noise_convs\.\d+\.weight$|^fc\.1\.weight$", ("fan", 4.0)),
    (r"dec\.conv_post\.weight$", ("fan", 0.15)),
    (r"feature_extractor\.conv_layers\.\d+\.(0|conv)\.weight$", ("fan", 1.5)),
    (r"(self_attn|attention)\.[qk]_proj\.weight$", ("fan", 2.0)),
    (r"(self_attn|attention)\.(v|out)_proj\.weight$", ("fan", 0.6)),
    (r"(fc2|feed_forward\.output_dense)\.weight$", ("fan", 0.4)),
    (r"^unet\..*shortcut\.weight$|^fc\.0\.gru\.weight_ih", ("fan", 1.0)),
    (r"^unet\.decoder\.layers\.\d+\.conv1\.0\.weight$", ("transposed", 1.0)),
    (r"^unet\..*\.weight$", ("fan or norm", 0.7)),
    (r"^cnn\.weight$", ("fan", 0.5)),
    (r"^fc\.1\.bias$", ("about", -7.2, 0.3)),
]
_MAGNITUDE, _DIRECTION = ".weight_g", ".weight_v"
_NEW_SPELLING = {".parametrizations.weight.original0": _MAGNITUDE, ".parametrizations.weight.original1": _DIRECTION}
_UNIT_DEVIATION = math.sqrt(3.0)  # of numbers uniform in -1..1


def uniform(name: str, shape: Shape, seed: int) -> Array:
    """Float32 numbers within -1..1."""
    count = math.prod(shape)
    key = hashlib.sha256(f"{seed}:{name}".encode()).digest()[:16]
    words = np.random.Philox(key=int.from_bytes(key, "little")).random_raw((count + 1) // 2)
    halves = words.astype("<u8").view("<u4")[:count]  # low half first
    odd = 2 * (halves >> 8).astype(np.int64) + 1 - (1 << 24)
    return (odd.astype(np.float32) * np.float32(2.0**-24)).reshape(shape)


def fill(shapes: Mapping[str, Shape], seed: int) -> dict[str, Array]:
    """A whole state dict: float32, int64 zeros for the batch counters."""
    old = {name: _old_spelling(name) for name in shapes}
    by_old_name = {old[name]: shape for name, shape in shapes.items()}
    return {name: _tensor(old[name], shape, seed, by_old_name) for name, shape in shapes.items()}


def half_rounded(state: Mapping[str, Array]) -> dict[str, Array]:
    """What is left of a state after being stored in float16."""
    return {k: v.astype(np.float16).astype(np.float32) if v.dtype == np.float32 else v for k, v in state.items()}


def digest(state: Mapping[str, Array]) -> str:
    """SHA-256 over names, shapes and little-endian bytes, in the order of the names."""
    total = hashlib.sha256()
    for name in sorted(state):
        array = state[name]
        total.update(name.encode() + b"\0" + repr(tuple(array.shape)).encode() + b"\0")
        total.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return total.hexdigest()


def fill_network(net: Any) -> dict[str, Any]:
    """A state dict for a torch module: numbers of a sane scale, so that what goes in matters to what comes out."""
    import torch

    shapes = tuple((name, tuple(tensor.shape)) for name, tensor in net.state_dict().items())
    return {name: torch.from_numpy(values.copy()) for name, values in _filled(shapes).items()}


@cache
def _filled(shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> dict[str, Array]:
    return fill(dict(shapes), seed=3)


def _old_spelling(name: str) -> str:
    for new, old in _NEW_SPELLING.items():
        name = name.replace(new, old)
    return name


def _inputs(name: str, shape: Shape) -> int:
    """Inputs that one output of a layer adds up."""
    if len(shape) <= 1:
        return max(math.prod(shape), 1)
    if re.search(r"(^|\.)ups\.\d+\.", name):  # a transposed convolution whose kernel is about twice its stride
        return shape[0] * 2
    return math.prod(shape[1:])


def _tensor(name: str, shape: Shape, seed: int, shapes: Mapping[str, Shape]) -> Array:
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    u = uniform(name, shape, seed)
    if name.endswith(_DIRECTION):
        return u * np.float32(_UNIT_DEVIATION)
    if name.endswith(_MAGNITUDE):  # such that the folded weight has a deviation of 1 / sqrt(inputs)
        base = name.removesuffix(_MAGNITUDE)
        direction = shapes[base + _DIRECTION]
        group = math.prod(direction) // max(math.prod(shape), 1)
        size = np.float32(math.sqrt(group / _inputs(base + ".weight", direction)))
        return (np.float32(1.0) + u * np.float32(0.1 * _UNIT_DEVIATION)) * size
    mean, deviation = _scale(name, shape)
    return np.float32(mean) + u * np.float32(deviation * _UNIT_DEVIATION)


def _scale(name: str, shape: Shape) -> tuple[float, float]:
    rule = next((rule for pattern, rule in SCALES if re.search(pattern, name)), None)
    match rule:
        case ("about", mean, deviation):
            return mean, deviation
        case ("last", gain):
            return 0.0, gain / math.sqrt(shape[-1])
        case ("transposed", gain):  # 3x3 with stride 2: 9/4 taps meet in one output
            return 0.0, gain / math.sqrt(shape[0] * 2.25)
        case ("fan or norm", _) if len(shape) == 1:
            return 1.0, 0.1
        case (_, gain):
            return 0.0, gain / math.sqrt(_inputs(name, shape))
    if len(shape) >= 2:
        return 0.0, 1.0 / math.sqrt(_inputs(name, shape))
    return (1.0, 0.1) if not shape or name.endswith("weight") else (0.0, 0.05)
