"""The figures of the evaluation of voices, drawn by matplotlib, which is an extra."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....kernels.errors import OutputError
from ....kernels.types import FloatArray
from ....models.voice import Voice
from .conditions import RATE, at_usual_level
from .conversion import Converter
from .evaluation import Clip, voice_label
from .evaluation_tables import Result
from .manifest import Recording, read_audio

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORDS_PLOT = "voices_words.png"
SIMILARITY_PLOT = "voices_similarity.png"
SPECTROGRAM_PLOT = "voices_spectrograms.png"
_SHOWN_S = 3.0
_SOURCES = "sources"


def draw_all(
    results: Sequence[Result],
    voices: Mapping[str, Voice],
    recordings: Iterable[Recording],
    clip: Clip,
    block_ms: int,
    folder: Path,
) -> list[Path]:
    """Draw every figure for which there is something to show.

    Args:
        results: All voices in all conditions.
        voices: By the name that the user gave.
        recordings: The manifest, to find a recording of a target.
        clip: Source of the spectrograms.
        block_ms: Block length of the spectrograms, of a voice that is not bound to one.
        folder: Folder of the figures.

    Raises:
        OutputError: a file cannot be written.
    """
    drawn = [plot_words(results, folder)]
    if any(result.target for result in results):
        drawn.append(plot_similarity(results, folder))
    targets = {result.voice: result.target.name for result in results if result.target}
    shown = next((name for name in voices if voice_label(name) in targets), next(iter(voices)))
    voice = voices[shown]
    panels = {f"source: {clip.speaker}": clip.audio}
    target = targets.get(voice_label(shown))
    if target is not None:
        long = [r for r in recordings if target in (r.set, r.speaker) and r.split == "test"]
        panels[f"target: {target}"] = read_audio(max(long, key=lambda r: r.seconds).path, RATE)
    converter = Converter(voice, voice.lengths.get("block_ms", block_ms))
    panels[f"result: {voice_label(shown)}"] = converter.convert(clip.audio)
    return [*drawn, plot_spectrograms(panels, folder)]


def plot_words(results: Sequence[Result], folder: Path) -> Path:
    """Draw the word error rate in each condition, a bar for the sources and for each voice."""
    figure = _figure("Words that Whisper base hears wrongly", (13.0, 4.6))
    axes: Axes = figure.subplots()
    conditions = list(dict.fromkeys(result.condition.name for result in results))
    heights: dict[str, dict[str, float]] = {_SOURCES: {}}
    for result in results:
        heights[_SOURCES][result.condition.name] = result.sources.words.percent or 0.0
        heights.setdefault(result.voice, {})[result.condition.name] = result.scores.words.percent or 0.0
    width = 0.8 / len(heights)
    for i, (voice, bars) in enumerate(heights.items()):
        places = [j - 0.4 + (i + 0.5) * width for j, name in enumerate(conditions) if name in bars]
        values = [bars[name] for name in conditions if name in bars]
        axes.bar(places, values, width, label=voice, color="0.6" if voice == _SOURCES else f"C{i - 1}")
    axes.set_xticks(range(len(conditions)), conditions, fontsize="small")
    axes.set_ylabel("word error rate, %")
    axes.grid(alpha=0.3, axis="y")
    axes.legend()
    return _save(figure, folder / WORDS_PLOT)


def plot_similarity(results: Sequence[Result], folder: Path) -> Path:
    """Draw how far each voice comes to its target against the words that it costs, in the first condition."""
    condition = results[0].condition.name
    figure = _figure(f"Nearness to the target against lost words, {condition}", (7.0, 4.6))
    axes: Axes = figure.subplots()
    for i, voice in enumerate(dict.fromkeys(result.voice for result in results if result.target)):
        own = [(r.scores.words.percent, r.way_percent, r.condition.name) for r in results if r.voice == voice]
        points = [(x, y) for x, y, name in own if x is not None and y is not None and name == condition]
        axes.plot([x for x, _ in points], [y for _, y in points], "o", color=f"C{i}", label=voice, alpha=0.8)
    axes.set_xlabel("word error rate, %")
    axes.set_ylabel("% of the way from the sources to the target's ceiling")
    axes.set_xlim(left=0.0)
    axes.set_ylim(0.0, 100.0)
    axes.grid(alpha=0.3)
    axes.legend()
    return _save(figure, folder / SIMILARITY_PLOT)


def plot_spectrograms(panels: Mapping[str, FloatArray], folder: Path) -> Path:
    """Draw the first seconds of some audio [N] at 24 kHz, one spectrogram each under its title."""
    figure = _figure("A source, the target and what the voice made of the source", (9.0, 2.6 * len(panels)))
    rows: Sequence[Axes] = list(figure.subplots(len(panels), 1, squeeze=False, sharex=True)[:, 0])
    for axes, (title, audio) in zip(rows, panels.items(), strict=True):
        shown = at_usual_level(audio)[: round(_SHOWN_S * RATE)]
        faint = 1e-5 * np.random.default_rng(0).standard_normal(len(shown))  # digital silence has no level in dB
        axes.specgram(shown + faint, NFFT=768, Fs=RATE, noverlap=768 - 120, cmap="Greys", vmin=-110, vmax=-40)
        axes.set_ylabel("Hz")
        axes.set_title(title, fontsize="medium")
    rows[-1].set_xlabel("seconds")
    return _save(figure, folder / SPECTROGRAM_PLOT)


def _figure(title: str, size_inches: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inches, layout="constrained")
    figure.suptitle(title)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    try:
        FigureCanvasAgg(figure).print_figure(path, format="png", dpi=110)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    return path
