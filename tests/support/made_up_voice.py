"""An RVC voice and base models with random weights: the real architecture, narrow where that saves most time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import weights
from altervox.models.checkpoint import VoiceCheckpoint
from altervox.models.pitch.rmvpe import RMVPE
from altervox.models.rvc.content import Hubert
from altervox.models.rvc.decoder import DecoderShape
from altervox.models.rvc.synthesizer import Synthesizer
from altervox.models.rvc.voice import RvcVoice

RATE = 40000
SPEAKERS = 3
CONFIG = [1025, 32, 192, 192, 768, 2, 6, 3, 0, "1", [3, 7, 11], [[1, 3, 5]] * 3]
CONFIG += [[10, 10, 2, 2], 64, [16, 16, 4, 4], 109, 256, RATE]


def payload(has_f0: bool = True) -> dict[str, Any]:
    """What a file of the voice holds: v2, 40 kHz, full-size prior and flow, a narrow decoder."""
    shape = DecoderShape(RATE, (10, 10, 2, 2), (16, 16, 4, 4), initial_channels=64)
    net = Synthesizer(shape, 768, SPEAKERS, has_f0)
    return {
        "weight": weights.fill_network(net),
        "config": CONFIG,
        "info": "",
        "sr": "40k",
        "f0": int(has_f0),
        "version": "v2",
    }


def voice(has_f0: bool = True, device: str = "cpu") -> RvcVoice:
    """The voice itself."""
    checkpoint = VoiceCheckpoint(payload(has_f0)["weight"], CONFIG, "v2", has_f0, RATE, SPEAKERS, "")
    return RvcVoice("made up", checkpoint, None, torch.device(device), Path("made up.pth"))


def content() -> Hubert:
    """A narrow content encoder, a tenth of the work; what comes out is as wide as from a full one."""
    net = Hubert(channels=64, layers=2, ffn_width=256)
    net.load_state_dict(weights.fill_network(net))
    return net


def rmvpe() -> RMVPE:
    """A narrow pitch network."""
    net = RMVPE(4, 1, 1, 32)
    net.load_state_dict(weights.fill_network(net))
    return net


def write_base_models(folder: Path) -> None:
    """Both networks under the names by which a library finds them."""
    folder.mkdir(parents=True)
    torch.save(content().state_dict(), folder / "hubert_base.pt")
    torch.save(rmvpe().state_dict(), folder / "rmvpe.pt")
