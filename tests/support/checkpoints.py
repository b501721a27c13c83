"""Synthetic model files in the formats that users have, hostile and damaged ones among them."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import types
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import weights

MANIFESTS = Path(__file__).parents[1] / "data" / "reference" / "manifests"
EXECUTED = Path(tempfile.gettempdir()) / "altervox_test_pickle_was_executed"


def manifest(name: str) -> dict[str, Any]:
    described: dict[str, Any] = json.loads((MANIFESTS / f"{name}.json").read_text())
    return described


def state(name: str, dtype: torch.dtype = torch.float16, seed: int = 7) -> OrderedDict[str, torch.Tensor]:
    """The weights of a manifest as torch tensors."""
    filled = weights.fill({k: v["shape"] for k, v in manifest(name)["tensors"].items()}, seed)
    return OrderedDict(
        (k, torch.from_numpy(np.array(v)).to(dtype) if v.dtype == np.float32 else torch.from_numpy(np.array(v)))
        for k, v in filled.items()
    )


def voice(name: str = "v2_40k", speakers: int = 2) -> dict[str, Any]:
    """What `torch.save` writes into a voice file; with fewer speakers than usual, to be smaller."""
    described = manifest(f"generator_{name}")
    weight = state(f"generator_{name}")
    weight["emb_g.weight"] = weight["emb_g.weight"][:speakers].clone()
    return {
        "weight": dict(weight),
        "config": described["config"],
        "info": "200epoch",
        "sr": described["sr"],
        "f0": described["f0"],
        "version": described["version"],
    }


def write_fairseq(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A checkpoint in fairseq's layout with the classes that such a file pickles, under their real names."""
    names = ("fairseq", "fairseq.data", "fairseq.data.dictionary")
    modules = [types.ModuleType(name) for name in names]

    class Dictionary:
        def __init__(self) -> None:
            self.symbols = ["<s>", "<pad>", "</s>", "<unk>"]
            self.indices = {symbol: i for i, symbol in enumerate(self.symbols)}

    Dictionary.__module__, Dictionary.__qualname__ = names[-1], "Dictionary"
    modules[-1].Dictionary = Dictionary  # type: ignore[attr-defined]
    sys.modules.update(zip(names, modules, strict=True))
    try:
        payload = {
            "args": argparse.Namespace(arch="hubert"),
            "cfg": {"model": {"_name": "hubert"}},
            "model": tensors,
            "task_state": {"dictionaries": [Dictionary()]},
        }
        torch.save(payload, path)
    finally:
        for name in names:
            del sys.modules[name]


class OpensAFile:
    """Unpickling it creates the file `EXECUTED`."""

    def __reduce__(self) -> Any:
        return open, (str(EXECUTED), "w")


def hostile() -> dict[str, Any]:
    """A voice-like payload that runs a function when unpickled."""
    return {"weight": {"emb_g.weight": torch.zeros(1, 256)}, "config": [], "info": OpensAFile()}
