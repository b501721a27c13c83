"""Whether a network still computes the same in half precision, tried on real inputs."""

from __future__ import annotations

import copy
import logging
import os
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .eager import as_tuple, device_of

log = logging.getLogger(__name__)

HALF_TOLERANCE = 5e-3  # relative RMS; -46 dB, about what float16 costs a deep network that suits it
AMX_TOLERANCE = 2e-2  # what bfloat16 may cost; of HuBERT base with random weights it is 1.2e-2
_TIMED_RUNS = 3


@torch.inference_mode()
def precision_for(
    module: nn.Module,
    inputs: Sequence[Tensor],
    tolerance: float | None = None,
    candidates: Sequence[torch.dtype] | None = None,
) -> torch.dtype:
    """The cheapest type in which a network still computes what it computes in float32.

    Args:
        module: In float32; it is left as it is.
        inputs: Real ones: a type fails by what it is fed, and zeros overflow nothing.
        tolerance: Largest relative RMS difference of any output; None for `HALF_TOLERANCE`, on a CPU `AMX_TOLERANCE`.
        candidates: Types to try, best first. None tries float16 and bfloat16 on a GPU; on a CPU bfloat16 if it has
            AMX and is faster so, for without AMX half precision is slower.

    Returns:
        The first candidate whose outputs are finite and near enough, else float32. What was found is logged.
    """
    device = device_of(module).type
    must_be_faster = candidates is None and device == "cpu"
    if candidates is None:
        half = {"cuda": (torch.float16, torch.bfloat16), "cpu": (torch.bfloat16,) if has_amx() else ()}
        candidates = half.get(device, ())
    if tolerance is None:
        tolerance = AMX_TOLERANCE if device == "cpu" else HALF_TOLERANCE
    name, found = type(module).__name__, []
    expected = as_tuple(module(*inputs)) if candidates else ()
    for dtype in candidates:
        label = str(dtype).removeprefix("torch.")
        try:
            half_module, half_inputs = copy.deepcopy(module).to(dtype), _cast(inputs, dtype)
            results = as_tuple(half_module(*half_inputs))
        except RuntimeError as error:  # an operation without this type, or no memory for the trial
            found.append(f"{label} fails ({str(error).splitlines()[0]})")
            continue
        error_rms = max(map(_relative_rms, results, expected))
        if must_be_faster and _seconds(half_module, half_inputs) >= _seconds(module, inputs):
            found.append(f"{label} is not faster")
        elif error_rms <= tolerance:
            log.info("%s runs in %s: relative RMS difference %.1e, at most %.1e", name, label, error_rms, tolerance)
            return dtype
        else:
            found.append(f"{label} differs by {error_rms:.1e}, more than {tolerance:.1e}")
    log.info("%s runs in float32: %s", name, "; ".join(found) or "nothing else is faster here")
    return torch.float32


@torch.inference_mode()
def pays_in_bfloat16(full: nn.Module, half: nn.Module, inputs: Sequence[Tensor]) -> bool:
    """Whether what computes in bfloat16 is faster on this processor, and near enough; what was found is logged.

    Args:
        full: In float32.
        half: A copy of the network that takes float32 and computes inside in bfloat16.
        inputs: Real inputs of both.
    """
    expected = [result.clone() for result in as_tuple(full(*inputs))]
    error_rms = max(map(_relative_rms, as_tuple(half(*inputs)), expected))
    full_s, half_s = _seconds(full, inputs), _seconds(half, inputs)
    pays = error_rms <= AMX_TOLERANCE and half_s < full_s
    log.info(
        "%s runs in %s: bfloat16 takes %.0f %% of the time and differs by %.1e",
        type(full).__name__,
        "bfloat16" if pays else "float32",
        100.0 * half_s / max(full_s, 1e-9),
        error_rms,
    )
    return pays


def has_amx() -> bool:
    """Whether torch multiplies matrices of bfloat16 in one instruction: AMX, which oneDNN may be kept from."""
    most = os.environ.get("ONEDNN_MAX_CPU_ISA", "DEFAULT").upper()
    return bool(torch.cpu._is_amx_tile_supported()) and ("AMX" in most or most in ("DEFAULT", "ALL"))


def _seconds(module: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Processor time of a run, the least of a few."""
    times = []
    for _ in range(_TIMED_RUNS):
        started = time.thread_time()
        module(*inputs)
        times.append(time.thread_time() - started)
    return min(times)


def _cast(tensors: Sequence[Tensor], dtype: torch.dtype) -> list[Tensor]:
    return [tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in tensors]


def _relative_rms(result: Tensor, expected: Tensor) -> float:
    """RMS difference over the RMS of what is expected; infinite where the result is not finite."""
    if not bool(torch.isfinite(result).all()):
        return float("inf")
    reference = expected.cpu().double()  # on the CPU, for not every GPU has float64
    difference = float((result.cpu().double() - reference).square().mean().sqrt())
    return difference / max(float(reference.square().mean().sqrt()), 1e-12)
