"""The decoder that is fast on a CPU, block by block, against the one that it stands for."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import weights
from altervox.models.rvc.decoder import DecoderShape
from altervox.models.rvc.fast_decoder import FastDecoder
from altervox.models.rvc.steps import DecoderStep
from altervox.models.rvc.streaming import CachedDecoder
from altervox.models.rvc.synthesizer import Synthesizer
from torch import Tensor, nn

SHAPES = {  # the published ones, narrower
    "40k": DecoderShape(40000, (10, 10, 2, 2), (16, 16, 4, 4), 64),
    "v1 48k": DecoderShape(48000, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4), 64),
    "v2 48k": DecoderShape(48000, (12, 10, 2, 2), (24, 20, 4, 4), 64),
    "v1 32k": DecoderShape(32000, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4), 64),
    "v2 32k": DecoderShape(32000, (10, 8, 2, 2), (20, 16, 4, 4), 64),
}
STEP = 3


def decoder(shape: DecoderShape, has_f0: bool) -> CachedDecoder:
    net = Synthesizer(shape, 256, 2, has_f0)
    net.load_state_dict(weights.fill_network(net))
    return CachedDecoder(net.dec)


def inputs(step: DecoderStep, index: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(index)
    given = {
        name: torch.randn(spec.shape, generator=generator) for name, spec in step.spec.inputs.items() if name != "step"
    }
    if "step" in step.spec.inputs:
        given["step"] = torch.tensor([[STEP - index % 2]])
    return {name: given[name] for name in step.spec.inputs}


def error(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


@torch.inference_mode()
@pytest.mark.parametrize(
    ("name", "has_f0", "is_half"),
    [*((name, True, False) for name in SHAPES), ("40k", False, False), ("40k", True, True)],
)
def test_it_renders_what_the_decoder_renders(name: str, has_f0: bool, is_half: bool) -> None:
    """Blocks of whole frames and blocks on a grid in turn, in the same buffers, with the same context."""
    cached = decoder(SHAPES[name], has_f0)
    per_frame = cached.per_frame
    plain = [DecoderStep(cached, 8, 5 * per_frame, STEP), DecoderStep(cached, 14, 13 * per_frame + 7, None)]
    with ThreadPoolExecutor(1) as beside:
        fast = FastDecoder(cached, beside if has_f0 else None, is_half)
        quick = [fast.step(step) for step in plain]
        fast.allocate()
        mem, fast_mem = torch.zeros(2, 1, cached.context_length)
        for i in range(4):
            which = i % 3 % 2
            given = inputs(plain[which], i)
            expected, mem = plain[which](*{**given, "mem_in": mem}.values())
            before = fast_mem.clone()
            got, kept = quick[which](*{**given, "mem_in": fast_mem}.values())
            assert torch.equal(fast_mem, before), "a failed block would spoil the next one"
            tolerance = 2e-2 if is_half else 2e-5
            assert error(got, expected) < tolerance
            assert error(kept.norm(), mem.norm()) < tolerance
            fast_mem = kept.clone()


def test_weights_are_laid_out_once_and_go_with_the_decoder() -> None:
    cached = decoder(SHAPES["40k"], True)
    first, second = FastDecoder(cached), FastDecoder(cached)
    conv = next(layer for layer in cached.dec.resblocks.modules() if isinstance(layer, nn.Conv1d))
    assert first.kernel(conv) is second.kernel(conv)
    alive = weakref.ref(cached.dec)
    del cached, first, second, conv
    gc.collect()
    assert alive() is None
