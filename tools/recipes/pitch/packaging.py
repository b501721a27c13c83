"""The trained network as it ships: weights, the graph for ONNX Runtime, and a card that says what it is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from ....kernels.errors import CheckpointError
from ....models.export.rmvpe import export_step
from ....models.pitch.rmvpe import RMVPE
from .corpus import Clip, mostly_voiced
from .disturbances import add_noise
from .noises import coloured_noise
from .speech import seeded
from .training import THRESHOLD_LOGIT

WEIGHTS, GRAPH = "rmvpe_small.safetensors", "rmvpe_small.onnx"
_MOST_BYTES = 4_000_000
_LARGEST_SHIFT = 4.0
_FLATNESS = 0.05  # relative error that is given up for a smaller shift


def voicing_shift(model: RMVPE, clips: list[Clip]) -> float:
    """What to take off all logits so that the decision on voicing, at a sigmoid of 0.03, makes the fewest errors.

    Training puts the decision there only roughly: the loss that shapes the salience of voiced frames pulls doubtful
    ones up as well.

    Args:
        model: The network.
        clips: To judge by, each clean and in pink noise at 10 dB. Those of which little is voiced are left out.
    """
    largest, is_voiced = [], []
    for clip in mostly_voiced(clips):
        noise = coloured_noise(len(clip.audio), seeded("tune", clip.name), 3.0)
        for audio in (clip.audio, add_noise(clip.audio, noise, 10.0)):
            salience = model.salience(model.mel(torch.from_numpy(audio)[None]))[0].numpy().max(axis=1)
            largest.append(salience[clip.known])
            is_voiced.append((clip.f0_hz > 0)[clip.known])
    p = np.clip(np.concatenate(largest).astype(np.float64), 1e-12, 1.0 - 1e-12)
    logit, voiced = np.log(p / (1.0 - p)), np.concatenate(is_voiced)
    shifts = np.arange(-_LARGEST_SHIFT, _LARGEST_SHIFT + 0.05, 0.05)
    errors = np.array([np.mean((logit - shift > THRESHOLD_LOGIT) != voiced) for shift in shifts])
    # The minimum is flat, and where in it the bottom lies depends on few voices: no further than it pays.
    good = shifts[errors <= (1.0 + _FLATNESS) * errors.min()]
    return float(good[np.argmin(np.abs(good))])


def package(state_path: Path, clips: list[Clip], folder: Path) -> dict[str, object]:
    """Write the files that ship.

    Args:
        state_path: `state.pt` of a training run.
        clips: The tuning split, for `voicing_shift`.
        folder: Folder of the files; existing ones are replaced atomically.

    Returns:
        Facts about it: steps, parameters, shift of the logits, bytes.

    Raises:
        CheckpointError: the run has no state, or the weights are too large to ship.
    """
    if not state_path.exists():
        raise CheckpointError(f"{state_path} does not exist: train first")
    state = torch.load(state_path, weights_only=True)
    shift = voicing_shift(RMVPE.from_state(state["averaged"]), clips)
    state["averaged"]["fc.1.bias"] -= shift
    # The count of batches serves training only.
    weights = {k: v.contiguous() for k, v in state["averaged"].items() if not k.endswith("num_batches_tracked")}
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{WEIGHTS}.part"
    facts = {"network": "RMVPE, small", "steps": str(state["step"]), "config": json.dumps(state["config"])}
    save_file(weights, unfinished, metadata=facts)
    if unfinished.stat().st_size > _MOST_BYTES:
        unfinished.unlink()
        raise CheckpointError(f"the weights take more than {_MOST_BYTES / 1e6:.0f} MB")
    model = RMVPE.from_state(state["averaged"])
    unfinished_graph = folder / f"{GRAPH}.part"
    export_step(model, unfinished_graph)
    unfinished.chmod(0o644)  # safetensors keeps what it writes to its owner
    unfinished.replace(folder / WEIGHTS)
    unfinished_graph.replace(folder / GRAPH)
    parameters = sum(p.numel() for p in model.parameters())
    return {
        "steps": state["step"],
        "parameters": parameters,
        "shift": round(shift, 2),
        "bytes": (folder / WEIGHTS).stat().st_size,
    }
