"""What can be exported: its steps, and its stream as altervox runs it and as a runtime runs the graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...models.export.folder import read_graph
from ...models.export.manifest import read_manifest
from ...models.export.steps import GeneratorStep, PitchStep, RetrievalStep
from ...models.export.voice import ExportedVoice
from ...models.graph import Step
from ...models.neural.card import Credits
from ...models.neural.step import NeuralStep
from ...models.neural.voice import NeuralVoice
from ...models.pitch.mel import HOP, SAMPLE_RATE
from ...models.pitch.rmvpe import RMVPE
from ...models.rvc.content import Hubert
from ...models.rvc.steps import ContentStep, PriorStep
from ...models.rvc.voice import RvcVoice
from ...models.voice import VoiceParams
from ...realtime.config import StreamConfig
from ...realtime.runners import Runner, make_runner
from ...realtime.stages.exported import ExportedStage
from ...realtime.stages.exported_neural import exported_neural_stage
from ...realtime.stages.features import RvcLengths
from ...realtime.stages.neural import PITCH_RIGHT_FRAMES, NeuralStage
from ...realtime.stages.pitch import StreamingRMVPE, least_window
from ...realtime.stages.rvc import RvcStage
from ...realtime.stages.stage import VoiceStage

Stream = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # the next block of 16 kHz audio to what comes of it
RunGraph = Callable[[str], Runner]


@dataclass(frozen=True, slots=True)
class Source:
    """What can be exported. Its networks are on the CPU.

    Attributes:
        kind: As in a manifest, like what follows.
        name: Name.
        description: One line.
        sample_rate: Hz.
        speakers: Number of speakers.
        config: Lengths.
        steps: The step of each graph, for so many streams.
        reference: The stream as torch renders it, call by call in float32.
        exported: The stream as the graphs of a folder render it, or what runs each of them.
        f0_log2: As in a manifest.
        credits: As in a manifest.
    """

    kind: str
    name: str
    description: str
    sample_rate: int
    speakers: int
    config: StreamConfig
    steps: Callable[[int], dict[str, Step]]
    reference: Callable[[], Stream]
    exported: Callable[[Path, RunGraph | None], Stream]
    f0_log2: tuple[tuple[float, float], ...] = ()
    credits: tuple[Credits, ...] = ()


def voice_source(voice: RvcVoice, content: Hubert, rmvpe: RMVPE, config: StreamConfig, unrolled: bool) -> Source:
    """An RVC voice, with its content encoder and a pitch network; `unrolled` as for `PitchStep`."""
    lengths, net = RvcLengths.of(config), voice.synthesizer

    def steps(batch: int) -> dict[str, Step]:
        encoder = ContentStep(content, voice.version, lengths.window * HOP, batch)
        samples = (lengths.block + lengths.tail) * net.shape.samples_per_frame
        found: dict[str, Step] = {
            "content": encoder,
            "prior": PriorStep(net.enc_p, lengths.known, lengths.known - lengths.rendered, batch),
            "generator": GeneratorStep(net, lengths.block, lengths.rendered, samples, batch),
        }
        if net.has_f0:
            found["rmvpe"] = _pitch_step(rmvpe, lengths.block, lengths.pitch_right, batch, unrolled)
        if voice.index is not None:
            found["retrieval"] = RetrievalStep(voice.index, lengths.searched, batch)
        return found

    def reference() -> Stream:
        eager = replace(config, backend="eager", precision="float32")
        return _rendered(RvcStage(voice, content, rmvpe, eager))

    def exported(folder: Path, run_graph: RunGraph | None) -> Stream:
        return _rendered(ExportedStage(ExportedVoice(voice.name, folder), config, run_graph))

    return Source(
        kind="rvc",
        name=voice.name,
        description=voice.description,
        sample_rate=voice.sample_rate,
        speakers=voice.speakers,
        config=config,
        steps=steps,
        reference=reference,
        exported=exported,
    )


def neural_source(voice: NeuralVoice, rmvpe: RMVPE, config: StreamConfig, unrolled: bool) -> Source:
    """A neural voice or a mix of two, with a pitch network; `unrolled` as for `PitchStep`."""
    frames = config.block_frames

    def reference() -> Stream:
        return _rendered(NeuralStage.of(voice, replace(config, backend="eager"), rmvpe))

    def exported(folder: Path, run_graph: RunGraph | None) -> Stream:
        return _rendered(exported_neural_stage(ExportedVoice(voice.name, folder), config, run_graph))

    return Source(
        kind="neural",
        name=voice.name,
        description=voice.description,
        sample_rate=voice.sample_rate,
        speakers=voice.speakers,
        config=config,
        steps=lambda batch: {
            "voice": NeuralStep(voice.networks, frames, batch),
            "rmvpe": _pitch_step(rmvpe, frames, PITCH_RIGHT_FRAMES, batch, unrolled),
        },
        reference=reference,
        exported=exported,
        f0_log2=voice.f0_log2,
        credits=tuple(card.credits for card in voice.cards),
    )


def pitch_source(name: str, rmvpe: RMVPE, config: StreamConfig, unrolled: bool) -> Source:
    """A pitch network alone; its stream gives salience."""
    lengths = RvcLengths.of(config)

    def reference() -> Stream:
        return StreamingRMVPE(rmvpe, lengths.block, lengths.pitch_right).push_salience

    def exported(folder: Path, run_graph: RunGraph | None) -> Stream:
        runner = run_graph("rmvpe") if run_graph else run_file(folder, "rmvpe")
        return StreamingRMVPE(runner, lengths.block, lengths.pitch_right).push_salience

    return Source(
        kind="rmvpe",
        name=name,
        description="pitch network",
        sample_rate=SAMPLE_RATE,
        speakers=1,
        config=config,
        steps=lambda batch: {"rmvpe": _pitch_step(rmvpe, lengths.block, lengths.pitch_right, batch, unrolled)},
        reference=reference,
        exported=exported,
    )


def run_file(folder: Path, name: str) -> Runner:
    """A graph of a folder in ONNX Runtime on the CPU."""
    spec, held = read_graph(folder, read_manifest(folder), name)
    return make_runner(spec, held, "onnx")


def _pitch_step(rmvpe: RMVPE, block: int, right: int, batch: int, unrolled: bool) -> PitchStep:
    return PitchStep(rmvpe, block + right, least_window(block, right), batch, unrolled)


def _rendered(stage: VoiceStage) -> Stream:
    """What a stage renders of each block, with the usual parameters."""
    params = VoiceParams()

    def next_block(block: NDArray[np.float32]) -> NDArray[np.float32]:
        out = np.zeros(len(block) * stage.output_rate // stage.input_rate, dtype=np.float32)
        stage.process(block, params, out)
        return out

    return next_block
