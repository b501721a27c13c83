"""`evaluate`: the tables and figures of docs/pitch.md."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ....kernels.errors import AudioFileError, ParameterError

if TYPE_CHECKING:
    from ....models.pitch.rmvpe import RMVPE
    from ..documents import Table
    from ..progress import Start
    from .corpus import Clip
    from .evaluation import Condition, Result
    from .references import Tracker

PARTS = ("accuracy", "recordings", "stream", "speed")
TABLES = {
    "accuracy": ("trackers", "accuracy", "noises", "kinds", "kinds_noisy", "details", "details_noisy"),
    "recordings": ("recordings",),
    "stream": ("stream", "stream_noisy"),
    "speed": ("speed",),
}
CREPE_TABLE = "crepe"
OWN = "small RMVPE"
OWN_TUNED = "small RMVPE, threshold tuned"
REFERENCES = ("torchfcpe", "swift-f0", "WORLD harvest", "WORLD dio")
TINY, FULL = "torchcrepe tiny", "torchcrepe full"
LEAST_VOTERS = 3
_DATA = Path(__file__).resolve().parents[3] / "tests" / "data"
# Recordings of a clone, and those that they were taken from, where Debian's pocketsphinx-testdata and alsa-utils are.
_RECORDINGS = {
    "librivox_male.wav": "usr/share/pocketsphinx/test/data/librivox/*.wav",
    "alsa_female.wav": "usr/share/sounds/alsa/*.wav",
}
_TRACKS_DRAWN = 4


@dataclass(slots=True)
class Report:
    """What is known after a run.

    Attributes:
        tables: By name.
        data: Output of `--json`.
        figures: Paths of what was drawn.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    figures: list[Path] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Settings:
    """What a run is to do; see the options of `evaluate`."""

    model: RMVPE
    graph: Path | None
    corpus: Path | None
    recordings: Sequence[Path]
    clips: int
    stream_clips: int
    crepe_clips: int
    plots: Path | None


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--corpus", type=click.Path(path_type=Path), help="Folder of the corpus, with tune/ and test/.")
@click.option("--model", type=click.Path(path_type=Path), help="Weights of the network; else those that ship.")
@click.option("--graph", type=click.Path(path_type=Path), help="Its step for ONNX Runtime; else the one that ships.")
@click.option("--recordings", "folders", multiple=True, type=click.Path(path_type=Path), help="Folder of more *.wav.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="Only these parts.")
@click.option("--clips", default=10, show_default=True, type=click.IntRange(1), help="Clips of each kind.")
@click.option("--stream-clips", default=4, show_default=True, type=click.IntRange(1), help="The same for streams.")
@click.option("--crepe-clips", default=0, type=click.IntRange(0), help="The same to compare CREPE on, which is slow.")
@click.option("--quick", is_flag=True, help="One clip of each kind and two recordings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of tables.")
@click.option("--docs", type=click.Path(path_type=Path), help="Markdown file whose marked tables are replaced.")
@click.option("--plots", type=click.Path(path_type=Path), help="Folder for figures.")
def evaluate(
    corpus: Path | None,
    model: Path | None,
    graph: Path | None,
    folders: tuple[Path, ...],
    parts: tuple[str, ...],
    clips: int,
    stream_clips: int,
    crepe_clips: int,
    quick: bool,
    as_json: bool,
    docs: Path | None,
    plots: Path | None,
) -> None:
    """Measure the pitch network: against other trackers, on recordings of people, as a stream, and in time."""
    import torch

    from ....models.base_models import pitch_network, small_pitch_network_onnx_path, small_pitch_network_path
    from ...bench.accuracy import plots as accuracy_plots
    from ..documents import Table, read_document, replaced, write_document
    from ..progress import progress

    parts = parts or PARTS
    if corpus is None and set(parts) != {"speed"}:
        raise ParameterError("only the part speed needs no corpus; give --corpus FOLDER")
    if docs is not None:  # that it has a place for every table is to be known before the long computation
        names = [*(name for part in parts for name in TABLES[part]), *([CREPE_TABLE] if crepe_clips else [])]
        replaced(read_document(docs), {name: Table("", [], []) for name in names})
    if plots is not None:
        accuracy_plots.prepare(plots)
    torch.set_num_threads(1)
    settings = Settings(
        model=pitch_network(model or small_pitch_network_path(), torch.device("cpu")),
        # The graph that ships is that of the weights that ship.
        graph=graph or (None if model else small_pitch_network_onnx_path()),
        corpus=corpus,
        recordings=find_recordings(folders),
        clips=1 if quick else clips,
        stream_clips=1 if quick else stream_clips,
        crepe_clips=min(crepe_clips, 1) if quick else crepe_clips,
        plots=plots,
    )
    report = Report()
    with progress() as start:
        if {"accuracy", "recordings"} & set(parts):
            _compare(settings, parts, report, start)
        if "stream" in parts:
            _stream(settings, report, start)
        if "speed" in parts:
            _speed(settings, report, start)
    if as_json:
        click.echo(json.dumps(report.data, indent=1))
    else:
        for name, table in report.tables.items():
            click.echo(f"{name}: {table.markdown()}")
    if docs is not None:
        write_document(docs, replaced(read_document(docs), report.tables))
    for path in report.figures:
        click.echo(f"drew {path}", err=True)


def find_recordings(folders: Sequence[Path]) -> list[Path]:
    """The recordings of people at hand, and those in the folders.

    Raises:
        AudioFileError: a folder holds none.
    """
    found = []
    for name, pattern in _RECORDINGS.items():
        originals = sorted(path for path in Path("/").glob(pattern) if path.stem != "Noise")
        found += originals or [path for path in (_DATA / name,) if path.exists()]
    for folder in folders:
        own = sorted(folder.glob("*.wav"))
        if not own:
            raise AudioFileError(f"{folder} holds no *.wav")
        found += own
    return found


def _compare(settings: Settings, parts: Sequence[str], report: Report, start: Start) -> None:
    """The parts accuracy and recordings, which need the trackers with tuned thresholds."""
    from . import evaluation, references
    from .corpus import mostly_voiced
    from .evaluation_tables import BOTH, accuracy_tables, extent, grid, results_as_data

    own = references.SmallRmvpe(settings.model, OWN)
    installed, missing = references.load_installed([*REFERENCES, TINY, *([FULL] if settings.crepe_clips else [])])
    tuning, test = (_read_split(settings, split) for split in ("tune", "test"))
    tuning = mostly_voiced(tuning)
    talkers = [clip for clip in (*tuning, *test) if clip.kind == "raw"]
    thresholds: dict[str, float] = {}
    for tracker in (own, *installed):
        few = evaluation.subset(tuning, max(settings.clips // 2, 1))
        if tracker.name == FULL:  # six times slower than real time
            few = evaluation.subset(tuning, 1)[:2]
        thresholds[tracker.name] = evaluation.tune(tracker, few, start(f"tuning {tracker.name}", len(few)))

    def judge(trackers: Sequence[Tracker], clips: Sequence[Clip], conditions: Sequence[Condition]) -> list[Result]:
        results = []
        for tracker in trackers:
            named = {tracker.name: thresholds[tracker.name]}
            if tracker.name == OWN:
                named = {OWN: own.threshold, OWN_TUNED: thresholds[OWN]}
            elif not tracker.has_every_frame:  # WORLD: the estimator's own decision, and D4C's after it
                named = {tracker.name: tracker.threshold, f"{tracker.name} + D4C": thresholds[tracker.name]}
            advance = start(tracker.name, len(clips) * len(conditions))
            results += evaluation.evaluate(tracker, named, clips, conditions, talkers, advance)
        return results

    if "accuracy" in parts:
        report.tables["trackers"] = _tracker_table([own, *installed], missing, thresholds)
        quick = [own, *(tracker for tracker in installed if tracker.name in REFERENCES)]
        clips = evaluation.subset(test, settings.clips)
        results = judge(quick, clips, evaluation.CONDITIONS)
        report.tables |= accuracy_tables(results, clips)
        report.data["accuracy"] = results_as_data(results)
        report.data["thresholds"] = thresholds
        if settings.crepe_clips:
            few = evaluation.subset(test, settings.crepe_clips)
            results_few = judge([own, *installed], few, (evaluation.CLEAN, evaluation.NOISY_10_DB))
            columns = {name: [name] for name in dict.fromkeys(result.condition for result in results_few)}
            report.tables[CREPE_TABLE] = grid(f"{extent(few)}; {BOTH}.", results_few, columns)
            report.data[CREPE_TABLE] = results_as_data(results_few)
        if settings.plots is not None:
            from .evaluation_plots import plot_noise

            shown = [result for result in results if result.tracker != OWN_TUNED]
            report.figures.append(plot_noise(shown, OWN, settings.plots))
    if "recordings" in parts:
        voters = [tracker for tracker in installed if tracker.name != FULL]
        if len(voters) < LEAST_VOTERS:
            raise ParameterError(
                f"recordings are labelled by a majority; of {LEAST_VOTERS} or more reference trackers only "
                f"{len(voters)} are installed: install others or leave out the part recordings"
            )
        paths = settings.recordings if settings.clips > 1 else settings.recordings[:2]
        people = [evaluation.label_recording(path, [(t, thresholds[t.name]) for t in voters]) for path in paths]
        noisy = [evaluation.Condition("pink", snr) for snr in evaluation.SNRS_DB]
        conditions = (evaluation.CLEAN, *noisy, evaluation.TELEPHONE)
        results = judge([own, *voters], people, conditions)
        by_name = {condition.name: [condition.name] for condition in conditions}
        report.tables["recordings"] = grid(f"{extent(people, 'recordings')}; {BOTH}.", results, by_name)
        report.data["recordings"] = results_as_data(results)
        if settings.plots is not None:
            used = [(own, own.threshold), *((tracker, thresholds[tracker.name]) for tracker in voters)]
            report.figures.append(_draw_tracks(settings.model, people, used, settings.plots))


def _tracker_table(trackers: Sequence[Tracker], missing: Mapping[str, str], thresholds: Mapping[str, float]) -> Table:
    """Thresholds and delays of the trackers that are there, and which are not."""
    from ..documents import Table
    from .references import glide_delay_ms

    rows = []
    for tracker in trackers:
        delay = f"{glide_delay_ms(tracker):.1f}"
        rows.append([tracker.name, f"{tracker.threshold:g}", f"{thresholds[tracker.name]:.3g}", delay])
    rows += [[name, "not installed", "", ""] for name in missing]
    note = "Thresholds of confidence, and by how much each is late on harmonic tones that glide."
    return Table(note, ["tracker", "its makers' threshold", "tuned", "late by ms"], rows)


def _draw_tracks(
    model: RMVPE, recordings: Sequence[Clip], trackers: Sequence[tuple[Tracker, float]], folder: Path
) -> Path:
    """Draw some recordings, spread over the list, with the tracks of all trackers and of a stream."""
    import numpy as np

    from ....kernels.salience import decode_salience
    from ....realtime.stages.pitch import StreamingRMVPE
    from .evaluation_plots import Tracks, plot_tracks
    from .stream_evaluation import stream_salience

    stream, streamed = StreamingRMVPE(model), f"{OWN}, stream"
    drawn = []
    for i in np.unique(np.linspace(0, len(recordings) - 1, _TRACKS_DRAWN).astype(int)):
        audio, f0_hz = recordings[i].audio, {}
        for tracker, threshold in trackers:
            found, confidence = tracker.track(audio)
            f0_hz[tracker.name] = np.where(confidence > threshold, found, 0.0).astype(np.float32)
        stream.reset()
        f0_hz[streamed] = decode_salience(stream_salience(stream, audio, is_carried=True))
        drawn.append(Tracks(recordings[i].name, audio, f0_hz))
    return plot_tracks(drawn, (OWN, streamed), folder)


def _stream(settings: Settings, report: Report, start: Start) -> None:
    """The part stream."""
    from .evaluation import subset
    from .evaluation_tables import extent, stream_table, streams_as_data
    from .stream_evaluation import CONDITIONS, compare_streams, settings_to_compare

    clips = subset(_read_split(settings, "test"), settings.stream_clips)
    ways = settings_to_compare()
    advance = start("streams", len(clips) * len(ways) * len(CONDITIONS))
    rows = list(compare_streams(settings.model, clips, ways, settings.graph, advance))
    for name, condition in zip(TABLES["stream"], CONDITIONS, strict=True):
        own = [row for row in rows if row.condition == condition.name]
        report.tables[name] = stream_table(f"{extent(clips)}; {condition.name}.", own)
    report.data["stream"] = streams_as_data(rows)
    if settings.plots is not None:
        from .evaluation_plots import plot_stream

        report.figures.append(plot_stream(rows, settings.plots))


def _speed(settings: Settings, report: Report, start: Start) -> None:
    """The part speed."""
    from .evaluation_tables import speed_as_data, speed_table
    from .stream_evaluation import WINDOWS_FRAMES, processor_name, time_blocks

    ways = [(backend, window) for backend in ("eager", "onnx") for window in WINDOWS_FRAMES]
    advance = start("speed", len(ways))
    rows = []
    for backend, window in ways:
        rows.append(time_blocks(settings.model, backend, settings.graph, window))
        advance()
    note = f"Milliseconds for a block of 20 ms on one thread; {processor_name()}."
    report.tables["speed"] = speed_table(note, rows)
    report.data["speed"] = speed_as_data(rows)


def _read_split(settings: Settings, split: str) -> list[Clip]:
    """Clips of a split of the corpus.

    Raises:
        AudioFileError: there are none.
    """
    from .corpus import read_clips

    assert settings.corpus is not None, "asked for at the start"
    clips = read_clips(settings.corpus, split)
    if not clips:
        raise AudioFileError(f"{settings.corpus / split} holds no clips; make the corpus first")
    return clips
