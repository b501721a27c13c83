"""Full-size model files in the published formats with random weights: for measuring, not for listening."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...models.pitch.rmvpe import RMVPE
from ...models.rvc.content import Hubert
from ...models.rvc.decoder import DecoderShape
from ...models.rvc.synthesizer import Synthesizer

RVC_KINDS: dict[str, tuple[int, DecoderShape]] = {
    "rvc-v1-32k": (256, DecoderShape(32000, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4))),
    "rvc-v1-40k": (256, DecoderShape(40000, (10, 10, 2, 2), (16, 16, 4, 4))),
    "rvc-v1-48k": (256, DecoderShape(48000, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4))),
    "rvc-v2-32k": (768, DecoderShape(32000, (10, 8, 2, 2), (20, 16, 4, 4))),
    "rvc-v2-40k": (768, DecoderShape(40000, (10, 10, 2, 2), (16, 16, 4, 4))),
    "rvc-v2-48k": (768, DecoderShape(48000, (12, 10, 2, 2), (24, 20, 4, 4))),
}


def write_voice(folder: Path, kind: str) -> Path:
    """Write a voice of one of `RVC_KINDS`, 109 speakers, float16, and return its path."""
    width, shape = RVC_KINDS[kind]
    torch.manual_seed(0)
    net = Synthesizer(shape, width, speakers=109, has_f0=True)
    path = folder / f"{kind}.pth"
    payload = {
        "weight": _half(net.state_dict()),
        "config": config_of(shape),
        "info": "random weights",
        "sr": f"{shape.sample_rate // 1000}k",
        "f0": 1,
        "version": "v1" if width == 256 else "v2",
    }
    torch.save(payload, path)
    return path


def config_of(shape: DecoderShape) -> list[Any]:
    """The 18 hyper-parameters that a voice file lists."""
    channels = 513 if shape.sample_rate == 32000 else 1025
    resblocks = [list(shape.resblock_kernel_sizes), [list(d) for d in shape.resblock_dilation_sizes]]
    upsampling = [list(shape.upsample_rates), shape.initial_channels, list(shape.upsample_kernel_sizes)]
    return [channels, 32, 192, 192, 768, 2, 6, 3, 0, "1", *resblocks, *upsampling, 109, 256, shape.sample_rate]


def write_base_models(folder: Path) -> None:
    """Write a content encoder and a pitch network under the names by which the library finds them."""
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save({"model": _half(Hubert().state_dict())}, folder / "hubert_base.pt")
    torch.save(_half(RMVPE().state_dict()), folder / "rmvpe.pt")


def _half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.half() if t.is_floating_point() else t for name, t in state.items()}
