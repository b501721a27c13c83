"""Networks that several sessions use are one."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import torch
from altervox.models.base_models import pitch_network
from altervox.models.pitch.rmvpe import RMVPE


def test_a_network_is_shared_while_it_is_held_and_its_file_stays(tmp_path: Path) -> None:
    path, cpu = tmp_path / "rmvpe.pt", torch.device("cpu")
    torch.save(RMVPE(4, 1, 1, 16).state_dict(), path)
    first = pitch_network(path, cpu)
    assert pitch_network(path, cpu) is first
    torch.save(RMVPE(4, 1, 1, 24).state_dict(), path)
    assert pitch_network(path, cpu).gru.gru.hidden_size == 24
    gone = weakref.ref(first)
    del first
    gc.collect()
    assert gone() is None
