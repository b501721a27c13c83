"""A folder of exported graphs of a neural voice as a stage."""

from __future__ import annotations

from ...models.export.voice import ExportedVoice
from ...models.graph import GraphSpec
from ...models.neural.features import N_MELS
from ...models.neural.network import BANDS, PITCH
from ..config import FRAME_MS, StreamConfig
from .exported import RunGraph, Shape, check_shapes, file_runs, pitch_interface
from .neural import PITCH_RIGHT_FRAMES, NeuralStage
from .pitch import StreamingRMVPE


def exported_neural_stage(voice: ExportedVoice, config: StreamConfig, run_graph: RunGraph | None = None) -> NeuralStage:
    """The stage of an exported neural voice; arguments and errors as for `ExportedStage`."""
    frames, f0_log2 = config.block_ms // FRAME_MS, voice.manifest.f0_log2

    def check(spec: GraphSpec) -> None:
        if spec.name == "rmvpe":
            check_shapes(spec, *pitch_interface(frames, PITCH_RIGHT_FRAMES))
            return
        state: Shape = (1, None)
        inputs: dict[str, Shape] = {"features": (1, frames, N_MELS), "pitch": (1, frames, PITCH)}
        outputs: dict[str, Shape] = {"bands": (1, 2 * frames, BANDS)}
        memories = ["encoder_mem", "decoder_mem"]
        if len(f0_log2) > 1:
            inputs["mix"] = (1, 2 * frames)
            memories.append("decoder_mem_2")
        for memory in memories:
            inputs[f"{memory}_in"] = outputs[f"{memory}_out"] = state
        check_shapes(spec, inputs, outputs)

    run = run_graph or file_runs(voice, config, check)
    return NeuralStage(run("voice"), StreamingRMVPE(run("rmvpe"), frames, PITCH_RIGHT_FRAMES), f0_log2)
