"""A folder of exported graphs as a voice: the stage of a feature voice, its networks run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...kernels.errors import CheckpointError, ParameterError
from ...kernels.noise import StreamNoise
from ...kernels.salience import N_BINS
from ...models.export.folder import read_graph
from ...models.export.manifest import LENGTHS
from ...models.export.voice import ExportedVoice
from ...models.graph import GraphSpec
from ...models.pitch.mel import HOP, N_MELS
from ...models.rvc.content import FIELD
from ...models.rvc.content import HOP as CONTENT_HOP
from ...models.rvc.phase import frame_phases
from ...models.rvc.prior import HIDDEN
from ...models.voice import VoiceParams
from ..config import FRAME_MS, StreamConfig
from ..runners import Runner, make_runner
from .features import FeatureStage, Lanes, RvcLengths, RvcNetworks
from .pitch import StreamingRMVPE, least_window
from .staging import Download, Upload
from .waveform import LATENT_STREAM, SOURCE_STREAM

RunGraph = Callable[[str], Runner]  # what runs a graph, by its name
Shape = tuple[int | None, ...]  # None where a size is the voice's own


class ExportedStage(FeatureStage):
    """An exported voice as a stage. It needs no weights in torch.

    Args:
        voice: The voice.
        config: Lengths, which must be those of the folder, and backend.
        run_graph: What runs a graph; None for ONNX Runtime on the graph's file.

    Raises:
        ParameterError: the lengths are not those that the graphs were made for, or the backend cannot run here.
        CheckpointError: a graph is missing, damaged or not what it should be.
        MissingDependencyError: the package that reads graphs is not installed.
    """

    def __init__(self, voice: ExportedVoice, config: StreamConfig, run_graph: RunGraph | None = None) -> None:
        lengths, manifest = RvcLengths.of(config), voice.manifest

        def check(spec: GraphSpec) -> None:
            check_interface(spec, lengths, voice.sample_rate * FRAME_MS // 1000, manifest.has_f0)

        run = run_graph or file_runs(voice, config, check)
        generator = ExportedGenerator(run("generator"), lengths.block, voice.sample_rate * FRAME_MS // 1000)
        content = run("content")
        networks = RvcNetworks(
            content=content,
            prior=run("prior"),
            tracker=StreamingRMVPE(run("rmvpe"), lengths.block, lengths.pitch_right) if manifest.has_f0 else None,
            generator=generator,
            index=ExportedIndex(run("retrieval")) if "retrieval" in manifest.graphs else None,
        )
        super().__init__(voice, lengths, networks, Lanes(content.inputs["audio"].device))
        self._asked = self._plain = VoiceParams()

    def process(self, block: NDArray[np.float32], params: VoiceParams, out: NDArray[np.float32]) -> None:
        """See `VoiceStage.process`."""
        super().process(block, self._without_formants(params), out)

    def advance(self, block: NDArray[np.float32], params: VoiceParams) -> None:
        """See `VoiceStage.advance`."""
        super().advance(block, self._without_formants(params))

    def _without_formants(self, params: VoiceParams) -> VoiceParams:
        """The parameters without what no graph was made for."""
        if params is not self._asked:
            self._asked, self._plain = params, replace(params, formant_semitones=0.0)
        return self._plain


def file_runs(voice: ExportedVoice, config: StreamConfig, check: Callable[[GraphSpec], None]) -> RunGraph:
    """What runs the graphs of a voice's folder in ONNX Runtime; `check` raises what `check_interface` does.

    Raises:
        ParameterError: the lengths are not those that the graphs were made for, or the backend cannot run here.
    """
    for name in LENGTHS:
        made_for, asked = voice.lengths[name], getattr(config, name)
        if asked != made_for:
            raise ParameterError(
                f"{voice.name} was exported for {name} {made_for}, and {name} is {asked}: leave it at {made_for}, "
                "or export the voice again"
            )
    if config.backend in ("eager", "cuda-graph"):
        raise ParameterError(f"backend {config.backend} cannot run {voice.name}, which is exported: choose onnx")
    backend = "onnx" if config.backend == "auto" else config.backend

    def run_file(name: str) -> Runner:
        spec, held = read_graph(voice.folder, voice.manifest, name)
        check(spec)
        return make_runner(spec, held, backend, threads=config.threads)

    return run_file


@dataclass(slots=True)
class ExportedGeneratorState:
    """What is carried.

    Attributes:
        flow_mem: Context of the flow's layers `[1, N]`: the very buffer that the graph reads.
        decoder_mem: Context of the decoder's layers, likewise.
        phase: Phase of the source before the block, in the units of `frame_phases` `[1, 1]`, likewise.
    """

    flow_mem: Tensor
    decoder_mem: Tensor
    phase: Tensor

    def forget_sound(self) -> None:
        """Drop the context of all layers, as before the start of a file. The phase is kept."""
        self.flow_mem.zero_()
        self.decoder_mem.zero_()

    def reset(self) -> None:
        """Return to the start of a stream."""
        self.forget_sound()
        self.phase.zero_()


class ExportedGenerator:
    """The waveform side of a voice as one graph; see `StreamingGenerator`."""

    def __init__(self, runner: Runner, block_frames: int, per_frame: int) -> None:
        self.runner = runner
        inputs, frames = runner.inputs, runner.inputs["m"].shape[2]
        self.samples = runner.outputs["wav"].shape[1]
        self._noise, self._wav = Upload(inputs["latent_noise"]), Download(runner.outputs["wav"])
        self._drawn = StreamNoise(LATENT_STREAM, HIDDEN, frames)
        self._has_source = "f0" in inputs
        phase = torch.zeros(1, 1, dtype=torch.int32)
        if self._has_source:
            self._f0, self._source_noise = Upload(inputs["f0"]), Upload(inputs["source_noise"])
            self._source_drawn = StreamNoise(SOURCE_STREAM, per_frame, frames)
            self._source_rows = self._source_noise.array.reshape(frames, -1)
            self._skipped = Upload(torch.zeros(1, block_frames, device=inputs["f0"].device))
            phase = inputs["phase_in"]
        self.state = ExportedGeneratorState(inputs["flow_mem_in"], inputs["decoder_mem_in"], phase)

    def step(
        self,
        m: Tensor,
        logs: Tensor,
        f0: NDArray[np.float32],
        speaker: int,
        start: int,
        formant_semitones: float,
        seed: int,
        out: NDArray[np.float32],
    ) -> None:
        """Render the next block; see `StreamingGenerator.step`. Formants stay where they are."""
        inputs = self.runner.inputs
        inputs["m"].copy_(m)
        inputs["logs"].copy_(logs)
        inputs["speaker"].fill_(speaker)
        self._drawn.into(seed, start, self._noise.array[0].T)
        self._noise.send()
        if self._has_source:
            self._f0.array[0] = f0
            self._f0.send()
            self._source_drawn.into(seed, start, self._source_rows)
            self._source_noise.send()
        self.runner.run()
        out[:] = self._wav.receive()[0]

    def advance(self, f0: NDArray[np.float32]) -> None:
        """See `StreamingGenerator.advance`."""
        self.state.forget_sound()
        if self._has_source:
            self._skipped.array[0] = f0
            self._skipped.send()
            self.state.phase.copy_(frame_phases(self.state.phase, self._skipped.target)[:, -1:])


class ExportedIndex:
    """Feature retrieval as a graph; see `FeatureIndex`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def neighbours(self, features: Tensor) -> Tensor:
        """See `FeatureIndex.neighbours`."""
        self._runner.inputs["features"][0].copy_(features)
        self._runner.run()
        return self._runner.outputs["neighbours"][0]


def check_interface(spec: GraphSpec, lengths: RvcLengths, per_frame: int, has_f0: bool) -> None:
    """Refuse a graph of a voice that was made for another geometry than its folder states.

    Args:
        spec: Interface of the graph.
        lengths: Lengths of the stream.
        per_frame: Samples in a frame of 10 ms.
        has_f0: Whether the voice has F0.

    Raises:
        CheckpointError: a tensor is missing, not asked for, or of another shape.
    """
    check_shapes(spec, *_interface(spec.name, lengths, per_frame, has_f0))


def check_shapes(spec: GraphSpec, inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]) -> None:
    """As `check_interface`, for a graph that must have these inputs and outputs and carry all that end in `_in`."""
    for wanted, found in ((inputs, spec.inputs), (outputs, spec.outputs)):
        shapes = {name: tuple(tensor.shape) for name, tensor in found.items()}
        if wanted.keys() != shapes.keys() or not all(map(_fits, wanted.values(), (shapes[name] for name in wanted))):
            raise CheckpointError(
                f"the graph {spec.name} was made for another geometry than its folder states: it has {shapes} instead "
                f"of {wanted}; export the voice again"
            )
    whole = {name for name in inputs if name in ("speaker", "rows", "last_row", "valid_rows")}
    whole |= {"pitch"} if spec.name == "prior" else set()  # coarse there
    types = {name: "int64" if name in whole else "int32" if name.startswith("phase") else "float32" for name in inputs}
    if types != {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in spec.inputs.items()}:
        raise CheckpointError(f"the graph {spec.name} takes other types than {types}; export the voice again")
    carries = {name: name.removesuffix("_in") + "_out" for name in inputs if name.endswith("_in")}
    if carries != dict(spec.carries):
        raise CheckpointError(f"the graph {spec.name} does not carry {carries}; export the voice again")


def _interface(
    name: str, lengths: RvcLengths, per_frame: int, has_f0: bool
) -> tuple[Mapping[str, Shape], Mapping[str, Shape]]:
    """Shapes that a graph's inputs and outputs must have."""
    slots = (lengths.window * HOP - FIELD) // CONTENT_HOP + 1
    if name == "content":
        return {"audio": (1, lengths.window * HOP)}, {"features": (1, slots, None)}
    if name == "retrieval":
        searched: Shape = (1, lengths.searched, None)
        return {"features": searched}, {"neighbours": searched}
    if name == "rmvpe":
        return pitch_interface(lengths.block, lengths.pitch_right)
    latent: Shape = (1, HIDDEN, lengths.rendered)
    if name == "prior":
        pitch: dict[str, Shape] = {"pitch": (1, lengths.known)} if has_f0 else {}
        return {"phone": (1, lengths.known, None), **pitch}, {"m": latent, "logs": latent}
    inputs: dict[str, Shape] = {"m": latent, "logs": latent, "latent_noise": latent, "speaker": (1, 1)}
    outputs: dict[str, Shape] = {"wav": (1, (lengths.block + lengths.tail) * per_frame)}
    if has_f0:
        inputs |= {"f0": (1, lengths.rendered), "source_noise": (1, lengths.rendered * per_frame), "phase_in": (1, 1)}
        outputs["phase_out"] = (1, 1)
    for memory in ("flow_mem", "decoder_mem"):
        inputs[memory + "_in"] = outputs[memory + "_out"] = (1, None)
    return inputs, outputs


def pitch_interface(block: int, right: int) -> tuple[Mapping[str, Shape], Mapping[str, Shape]]:
    """Shapes of the pitch network's inputs and outputs, for so many frames of a block and to the right of it."""
    rows, state = block + right, (1, None)
    numbers: dict[str, Shape] = {"rows": (1, rows), "last_row": (1, 1), "valid_rows": (1, 1)}
    mel: Shape = (1, N_MELS, least_window(block, right))
    return {"mel": mel, **numbers, "h_in": state}, {"salience": (1, rows, N_BINS), "h_out": state}


def _fits(wanted: Shape, found: tuple[int, ...]) -> bool:
    return len(wanted) == len(found) and all(size in (None, other) for size, other in zip(wanted, found, strict=True))
