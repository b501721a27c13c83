"""Steps: every tensor has a batch axis, and streams in one batch know nothing of one another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import weights
from altervox.models.export.rmvpe import export_step
from altervox.models.graph import Step
from altervox.models.pitch.rmvpe import RMVPE, RmvpeStep
from altervox.models.rvc.content import Hubert
from altervox.models.rvc.decoder import DecoderShape
from altervox.models.rvc.phase import UNITS_PER_CYCLE
from altervox.models.rvc.steps import ContentStep, DecoderStep, FlowStep, PriorStep, SourceStep
from altervox.models.rvc.streaming import CachedDecoder, CachedFlow
from altervox.models.rvc.synthesizer import Synthesizer
from altervox.realtime.runners import Runner, make_runner
from torch import Tensor, nn

STREAMS, BLOCKS = 3, 3
SHAPE = DecoderShape(40000, (10, 10, 2, 2), (16, 16, 4, 4), 32)

Build = Callable[[int], Step]


def filled(net: nn.Module) -> nn.Module:
    net.load_state_dict(weights.fill_network(net))
    return net


NET = Synthesizer(SHAPE, 256, 2, has_f0=True)
NO_F0 = Synthesizer(SHAPE, 256, 2, has_f0=False)
CONTENT = Hubert(channels=64, layers=1, ffn_width=128)
PITCH = RMVPE(base_channels=4, blocks=1, intermediate_layers=1, gru_size=16)
for _net in (NET, NO_F0, CONTENT, PITCH):
    filled(_net)
assert NET.dec.m_source is not None
SOURCE = NET.dec.m_source

STEPS: dict[str, Build] = {
    "content": lambda batch: ContentStep(CONTENT, "v2", 4000, batch),
    "prior": lambda batch: PriorStep(NET.enc_p, 40, 30, batch),
    "prior without F0": lambda batch: PriorStep(NO_F0.enc_p, 40, 30, batch),
    "flow": lambda batch: FlowStep(CachedFlow(NET.flow, 2), 8, batch),
    "source": lambda batch: SourceStep(SOURCE, 10, 2, batch),
    "decoder": lambda batch: DecoderStep(CachedDecoder(NET.dec), 8, 3 * 400, 2, batch),
    "decoder on a grid": lambda batch: DecoderStep(CachedDecoder(NET.dec), 8, 4 * 400, None, batch),
    "decoder without F0": lambda batch: DecoderStep(CachedDecoder(NO_F0.dec), 8, 3 * 400, 2, batch),
    "pitch": lambda batch: RmvpeStep(PITCH, 4, 64, batch),
}


def given(step: Step) -> list[dict[str, Tensor]]:
    """Inputs of some blocks, each stream its own."""
    generator, blocks = torch.Generator().manual_seed(1), []
    most = {"pitch": 255, "rows": 30, "last_row": 3, "step": 3}
    for _ in range(BLOCKS):
        block = {}
        for name, tensor in step.spec.inputs.items():
            if name in step.spec.carries:
                continue
            if tensor.dtype.is_floating_point:
                block[name] = torch.randn(tensor.shape, generator=generator)
            else:
                block[name] = torch.randint(1, most[name], tensor.shape, generator=generator)
        if "rows" in block:
            block["rows"] = block["rows"][:, :1] + torch.arange(block["rows"].shape[1])
        if "f0" in block:
            block["f0"] = (block["f0"] * 100.0 + 120.0).clamp(min=0.0)
        blocks.append(block)
    return blocks


def run(runner: Runner, blocks: list[dict[str, Tensor]], streams: slice) -> list[dict[str, Tensor]]:
    results = []
    for block in blocks:
        for name, tensor in block.items():
            runner.inputs[name].copy_(tensor[streams])
        runner.run()
        results.append({name: tensor.clone() for name, tensor in runner.outputs.items()})
    return results


def check_streams_are_apart(batched: Runner, single: Runner, blocks: list[dict[str, Tensor]]) -> None:
    together = run(batched, blocks, slice(None))
    for stream in range(STREAMS):
        single.reset()
        for found, alone in zip(together, run(single, blocks, slice(stream, stream + 1)), strict=True):
            for name, expected in alone.items():
                got = found[name][stream : stream + 1]
                if name == "phase_out":
                    assert torch.equal(got, expected)
                    continue
                assert expected.norm() > 0
                assert (got - expected).norm() < 1e-4 * expected.norm(), (name, stream)


@pytest.mark.parametrize("name", STEPS)
def test_a_batch_of_three_is_three_streams(name: str) -> None:
    batched, single = STEPS[name](STREAMS), STEPS[name](1)
    for step, batch in ((batched, STREAMS), (single, 1)):
        tensors = [*step.spec.inputs.values(), *step.spec.outputs.values()]
        assert {tensor.shape[0] for tensor in tensors} == {batch} == {step.spec.batch}
        assert torch.float64 not in {tensor.dtype for tensor in tensors}
    runners = [make_runner(step.spec, step, "eager") for step in (batched, single)]
    check_streams_are_apart(runners[0], runners[1], given(batched))


def test_a_batch_of_three_is_three_streams_in_onnx_runtime(tmp_path: Path) -> None:
    runners = []
    for batch in (STREAMS, 1):
        export_step(PITCH, tmp_path / f"{batch}.onnx", batch)
        runners.append(make_runner(RmvpeStep(PITCH, 4, 64, batch).spec, tmp_path / f"{batch}.onnx", "onnx"))
    check_streams_are_apart(runners[0], runners[1], given(RmvpeStep(PITCH, 4, 64, STREAMS)))


def test_the_source_carries_its_phase_to_the_next_block() -> None:
    step = SourceStep(SOURCE, 10, 2)
    runner = make_runner(step.spec, step, "eager")
    runner.inputs["f0"].fill_(30.0)
    runner.run()
    runner.run()
    assert int(runner.inputs["phase_in"]) == round(4 * 0.3 % 1.0 * UNITS_PER_CYCLE)
