"""Weights of a file given to a network that has none of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from altervox.kernels.errors import CheckpointError
from altervox.models.pitch.rmvpe import RMVPE
from altervox.models.weights import load_weights, on_meta
from torch import nn


def test_a_network_loaded_is_the_one_that_was_saved() -> None:
    saved = RMVPE(4, 1, 1, 16)
    loaded = RMVPE.from_state(saved.state_dict())
    for a, b in zip(saved.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(a, b)
        assert a.stride() == b.stride()
    mel = torch.randn(1, 128, 64)
    assert torch.equal(saved.salience(mel), loaded.salience(mel))


def test_loading_a_voice_imports_nothing_that_only_other_devices_need() -> None:
    """Operators on the meta device import 800 modules, half a second or more, which sessions would start later by."""
    code = (
        "import sys, torch\nfrom torch import nn\nfrom altervox.models.weights import on_meta\n"
        "from altervox.models.library import load_voice\nfrom altervox.realtime.engine import Engine\n"
        "before = set(sys.modules)\non_meta(lambda: nn.Sequential(nn.Linear(2, 2), nn.Embedding(2, 2), nn.GRU(2, 2)))\n"
        "assert len(set(sys.modules) - before) < 20\nEngine(load_voice('clara'))\n"
        "assert not {'sympy', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weight": torch.zeros(3, 2)}, "weight has the shape"),
        ({"weight": torch.zeros(2, 2, dtype=torch.int8)}, "weight holds int8 numbers"),
        ({"other": torch.zeros(1)}, "other is not a tensor of such a network"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_weights(on_meta(lambda: nn.Linear(2, 2)), nn.Linear(2, 2).state_dict() | changes)
