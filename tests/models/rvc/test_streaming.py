"""Flow and decoder with cached context: equal to the plain networks given lookahead, at any block size."""

from __future__ import annotations

import pytest
import torch
import weights
from altervox.models.rvc.decoder import DecoderShape
from altervox.models.rvc.prior import FLOW_REACH
from altervox.models.rvc.streaming import CachedDecoder, CachedFlow
from altervox.models.rvc.synthesizer import Synthesizer
from torch.utils.flop_counter import FlopCounterMode

FRAMES = 97
SHAPES = {  # the published ones, narrower
    "40k": DecoderShape(40000, (10, 10, 2, 2), (16, 16, 4, 4), 32),
    "v1 48k": DecoderShape(48000, (10, 6, 2, 2, 2), (16, 16, 4, 4, 4), 32),
    "v2 48k": DecoderShape(48000, (12, 10, 2, 2), (24, 20, 4, 4), 32),
    "v1 32k": DecoderShape(32000, (10, 4, 2, 2, 2), (16, 16, 4, 4, 4), 32),
    "v2 32k": DecoderShape(32000, (10, 8, 2, 2), (20, 16, 4, 4), 32),
}


def network(shape: DecoderShape, has_f0: bool = True) -> Synthesizer:
    net = Synthesizer(shape, 256, 2, has_f0)
    net.load_state_dict(weights.fill_network(net))
    return net


def inputs(net: Synthesizer) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(3)
    z = torch.randn(1, 192, FRAMES, generator=generator)
    g = net.emb_g(torch.tensor([1]))[..., None]
    source = 0.1 * torch.randn(1, 1, FRAMES * net.shape.samples_per_frame, generator=generator)
    return z, g, source if net.has_f0 else None


def error(got: torch.Tensor, expected: torch.Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


def flowed(net: Synthesizer, block: int, lookahead: int) -> torch.Tensor:
    z, g, _ = inputs(net)
    flow = CachedFlow(net.flow, block)
    mem, parts = torch.zeros(1, flow.context_length), []
    for start in range(0, FRAMES - block + 1, block):
        y, mem = flow(z[..., start : start + block + lookahead], g, mem)
        parts.append(y[..., :block])
    return torch.cat(parts, dim=2)


def decoded(net: Synthesizer, block: int, lookahead: int, tail: int = 0) -> torch.Tensor:
    z, g, source = inputs(net)
    dec, per_frame = CachedDecoder(net.dec), net.shape.samples_per_frame
    mem, parts = torch.zeros(1, dec.context_length), []
    for start in range(0, FRAMES - block + 1, block):
        stop = min(start + block + lookahead, FRAMES)
        part = source[..., start * per_frame : stop * per_frame] if source is not None else None
        samples = min(block + tail, stop - start) * per_frame
        y, mem = dec(z[..., start:stop], g, part, samples, block, mem)
        assert y.shape == (1, 1, samples)
        parts.append(y[..., : block * per_frame])
    return torch.cat(parts, dim=2)


@torch.inference_mode()
@pytest.mark.parametrize("block", [1, 3, 10, 24, FRAMES])
def test_the_flow_equals_the_plain_one(block: int) -> None:
    net = network(SHAPES["40k"])
    z, g, _ = inputs(net)
    got = flowed(net, block, FLOW_REACH)
    assert error(got, net.flow(z, g)[..., : got.shape[2]]) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize(("name", "has_f0"), [*((name, True) for name in SHAPES), ("40k", False)])
def test_the_decoder_equals_the_plain_one(name: str, has_f0: bool) -> None:
    """Given as much lookahead as it reaches, from the first sample to the end, whatever is rendered beyond a block."""
    net = network(SHAPES[name], has_f0)
    z, g, source = inputs(net)
    expected = net.dec(z, g, source)
    for block, tail in ((1, 0), (3, 2), (10, 1), (24, 24), (FRAMES, 0)):
        got = decoded(net, block, 24, tail)
        assert error(got, expected[..., : got.shape[2]]) < 1e-5, (block, tail)


@torch.inference_mode()
def test_less_lookahead_costs_accuracy_gradually() -> None:
    net = network(SHAPES["40k"])
    z, g, source = inputs(net)
    expected = net.dec(z, g, source)
    errors = []
    for lookahead in (0, 2, 4, 8, 13):
        got = decoded(net, 2, lookahead)
        errors.append(error(got, expected[..., : got.shape[2]]))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-5 < errors[0]


@torch.inference_mode()
def test_a_call_leaves_the_context_that_it_is_given_as_it_was() -> None:
    net = network(SHAPES["40k"])
    z, g, source = inputs(net)
    dec = CachedDecoder(net.dec)
    silence = torch.zeros(1, dec.context_length)
    first, after = dec(z, g, source, 400, 1, silence)
    assert not silence.any()
    assert after.is_contiguous()
    assert after.shape == silence.shape
    assert error(dec(z, g, source, 400, 1, after)[0], first) > 1e-3
    torch.testing.assert_close(dec(z, g, source, 400, 1, silence)[0], first, rtol=0, atol=0)


@torch.inference_mode()
def test_a_block_costs_little_more_than_its_own_length() -> None:
    """Two frames of audio with 6 of lookahead: less than three times the plain network's work on two frames."""
    net = network(DecoderShape(40000, (10, 10, 2, 2), (16, 16, 4, 4), 512))
    z, g, source = inputs(net)
    dec = CachedDecoder(net.dec)
    assert source is not None
    with FlopCounterMode(display=False) as plain:
        net.dec(z, g, source)
    with FlopCounterMode(display=False) as cached:
        dec(z[..., :8], g, source[..., : 8 * 400], 2 * 400, 2, torch.zeros(1, dec.context_length))
    assert cached.get_total_flops() < 3.0 * plain.get_total_flops() * 2 / FRAMES
