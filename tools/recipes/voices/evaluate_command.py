"""`evaluate`: the tables and figures of the measured voices in docs/voices.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ....kernels.errors import ParameterError

if TYPE_CHECKING:
    from ....kernels.types import FloatArray
    from ....models.voice import Voice
    from ..progress import Start
    from .conditions import Condition
    from .evaluation import Clip, Scores, Target
    from .evaluation_tables import Result
    from .manifest import Recording
    from .meters import Meters


@dataclass(frozen=True, slots=True)
class Material:
    """What voices are measured with.

    Attributes:
        clips: Sources by new speakers.
        held_out: New sentences of speakers that were trained on; empty where no condition uses them.
        noises: Recordings of noise; empty where no condition uses them.
    """

    clips: Sequence[Clip]
    held_out: Sequence[Clip]
    noises: Sequence[FloatArray]

    def heard(self, condition: Condition) -> tuple[Sequence[Clip], list[FloatArray]]:
        """The clean clips of a condition, and what a voice hears of them."""
        from .conditions import noise_for

        clips = self.held_out if condition.is_held_out else self.clips
        return clips, [condition.apply(clip.audio, noise_for(clip.name, self.noises)) for clip in clips]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("voices", nargs=-1, required=True, metavar="VOICE...")
@click.option("--speech", type=click.Path(path_type=Path), required=True, help="Folder of recordings and manifest.tsv.")
@click.option("--target", "pairs", multiple=True, metavar="VOICE=SPEAKER", help="Speaker whom a voice imitates.")
@click.option("--clips", default=15, show_default=True, type=click.IntRange(1), help="How many sources are converted.")
@click.option("--conditions", default="clean", show_default=True, help="Names separated by commas, or all.")
@click.option("--more", multiple=True, metavar="VOICE=CONDITIONS", help="Conditions of one voice, besides.")
@click.option("--block-ms", default=20, show_default=True, type=click.IntRange(20, 20000), help="Length of a block.")
@click.option("--seed", default=0, show_default=True, type=int, help="Draws the sources.")
@click.option("--into", "outputs", multiple=True, type=click.Path(path_type=Path), help="A .md with marks, or a .json.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder for figures.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("voices-evaluation"),
    show_default=True,
    help="Folder of what is kept between runs, 150 MB.",
)
def evaluate(
    voices: tuple[str, ...],
    speech: Path,
    pairs: tuple[str, ...],
    clips: int,
    conditions: str,
    more: tuple[str, ...],
    block_ms: int,
    seed: int,
    outputs: tuple[Path, ...],
    plots: Path | None,
    work: Path,
) -> None:
    """Measure voices on English speech: words, speaker, naturalness, melody.

    A voice is a name or a file, as for `altervox convert`. Clips go through the streaming engine.
    """
    import torch

    from ....models.library import load_voice
    from ....realtime.session.denoise import NoiseSuppressor
    from ...bench.accuracy import plots as accuracy_plots
    from ...machine import processor
    from ..documents import Table, read_document, replaced, write_document
    from ..progress import progress
    from . import evaluation, evaluation_tables
    from .conditions import chosen_conditions
    from .manifest import read_manifest
    from .meters import Meters

    besides = evaluation.by_voice("--more", "VOICE=CONDITIONS, with names separated by commas", more, voices)
    common = chosen_conditions(conditions)
    wanted = {name: list(dict.fromkeys(common + chosen_conditions(besides.get(name, conditions)))) for name in voices}
    every = [condition for chosen in wanted.values() for condition in chosen]
    named = evaluation.by_voice("--target", "VOICE=SPEAKER, with a speaker of the manifest", pairs, voices)
    loaded = {name: load_voice(name, "cpu") for name in dict.fromkeys(voices)}
    recordings = read_manifest(speech)
    targets = {**targets_of_cards(loaded, recordings), **named}
    # What cannot be written or is not installed is to be known before the long computation.
    for path in outputs:
        if path.suffix not in (".md", ".json"):
            raise ParameterError(f"--into is {path}; it must be a .md with marks for the tables, or a .json")
        if path.suffix == ".md":
            replaced(read_document(path), {name: Table("", [], []) for name in evaluation_tables.NAMES})
    if plots is not None:
        accuracy_plots.prepare(plots)
    if any(condition.is_denoised for condition in every):
        NoiseSuppressor()
    Meters.check()
    torch.set_num_threads(1)
    meters = Meters(work)
    material = Material(
        evaluation.source_clips(recordings, evaluation.NEW_SPEAKERS, clips, seed),
        evaluation.source_clips(recordings, evaluation.HELD_OUT, clips, seed)
        if any(condition.is_held_out for condition in every)
        else [],
        evaluation.read_noises(recordings) if any(condition.is_noisy for condition in every) else [],
    )
    with progress() as start:
        advance = start("targets", len(set(targets.values())))
        known = {}
        for name in dict.fromkeys(targets.values()):
            known[name] = evaluation.measure_target(recordings, name, meters)
            advance()
        imitated = {voice: known[name] for voice, name in targets.items()}
        clean = evaluation.evaluate_outputs(material.clips, [c.audio for c in material.clips], 24000, meters)
        results = measure(loaded, imitated, wanted, block_ms, material, meters, start)
    machine = f"measured on {processor()}"
    tables = evaluation_tables.all_tables(results, material.clips, clean, machine)
    for table in tables.values():
        if table.rows:
            click.echo(table.markdown())
    for path in outputs:
        if path.suffix == ".json":
            data = evaluation_tables.as_data(results, material.clips, clean, machine)
            write_document(path, json.dumps(data, indent=1) + "\n")
        else:
            write_document(path, replaced(read_document(path), tables))
    if plots is not None:
        from .evaluation_plots import draw_all

        for drawn in draw_all(results, loaded, recordings, material.clips[0], block_ms, plots):
            click.echo(f"drew {drawn}", err=True)


def targets_of_cards(voices: Mapping[str, Voice], recordings: Sequence[Recording]) -> dict[str, str]:
    """Whom the neural voices were trained to sound like, by their cards, where the manifest has recordings of them."""
    from ....models.neural.voice import NeuralVoice

    known = {name for recording in recordings for name in (recording.set, recording.speaker)}
    return {
        name: voice.cards[0].speaker
        for name, voice in voices.items()
        if isinstance(voice, NeuralVoice) and len(voice.cards) == 1 and voice.cards[0].speaker in known - {""}
    }


def measure(
    voices: Mapping[str, Voice],
    targets: Mapping[str, Target],
    conditions: Mapping[str, Sequence[Condition]],
    block_ms: int,
    material: Material,
    meters: Meters,
    start: Start,
) -> list[Result]:
    """All voices in all conditions.

    Args:
        voices: By the name that the user gave.
        targets: Whom they imitate, by the same names; a voice may have none.
        conditions: What happens to the clips, by the same names.
        block_ms: Block length where the condition names none and the voice is not bound to one.
        material: Clips and noises.
        meters: What measures.
        start: Announces jobs.
    """
    from .conversion import Converter
    from .evaluation import evaluate_outputs, voice_label
    from .evaluation_tables import Result

    results = []
    sources: dict[object, Scores] = {}
    for name, voice in voices.items():
        target = targets.get(name)
        bound = voice.lengths.get("block_ms")
        converters: dict[int, Converter] = {}
        for condition in conditions[name]:
            length = condition.block_ms if condition.block_ms is not None else bound or block_ms
            if bound not in (None, length):
                click.echo(f"{name} is bound to blocks of {bound} ms: {condition.name} is left out", err=True)
                continue
            clips, heard = material.heard(condition)
            advance = start(f"{name}, {condition.name}", len(clips))
            if condition.sound not in sources:
                sources[condition.sound] = evaluate_outputs(clips, heard, 24000, meters)
            if length not in converters:
                converters[length] = Converter(voice, length)
            outputs = map(converters[length].convert, heard)
            scores = evaluate_outputs(clips, outputs, 24000, meters, target, advance)
            begin = None if target is None else start_similarity(clips, target, meters)
            result = Result(voice_label(name), condition, length, scores, sources[condition.sound], target, begin)
            results.append(result)
    return results


def start_similarity(clips: Sequence[Clip], target: Target, meters: Meters) -> float:
    """Mean similarity of the clean sources to a target: where the way begins."""
    import numpy as np

    from .manifest import at_rate

    return float(np.mean([meters.embedding(at_rate(clip.audio, 24000, 16000)) @ target.embedding for clip in clips]))
