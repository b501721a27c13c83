"""The figures of the pitch evaluation, drawn by matplotlib, which is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....kernels.errors import OutputError
from ....kernels.types import FloatArray
from .evaluation import CLEAN, NOISES, SNRS_DB, Condition, Result, pooled
from .references import HOP, SAMPLE_RATE
from .stream_evaluation import StreamRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


NOISE_PLOT = "pitch_noise.png"
STREAM_PLOT = "pitch_stream.png"
TRACKS_PLOT = "pitch_tracks.png"
_SHOWN_S = 3.0


@dataclass(frozen=True, slots=True)
class Tracks:
    """F0 of one recording by several trackers.

    Attributes:
        name: Name of the recording.
        audio: At 16 kHz [N].
        f0_hz: By the tracker's name, 0 where unvoiced [N // 160 + 1].
    """

    name: str
    audio: FloatArray
    f0_hz: Mapping[str, FloatArray]


def plot_noise(results: Sequence[Result], own: str, folder: Path) -> Path:
    """Draw pitch accuracy and voicing error over the signal-to-noise ratio, a line for each tracker.

    Args:
        results: Results of all trackers on clips whose label does not come from them.
        own: Name of the tracker that is drawn thicker.
        folder: Folder of the figure.
    """
    figure = _figure("Pitch trackers in pink, white and babble noise", (10.0, 4.6))
    panels: Sequence[Axes] = figure.subplots(1, 2)
    steps = [[CLEAN.name], *([Condition(noise, snr).name for noise in NOISES] for snr in SNRS_DB)]
    for name in dict.fromkeys(result.tracker for result in results):
        mine = [result for result in results if result.tracker == name]
        shares = [pooled(mine, names).percentages() for names in steps]
        width, colour = (3.0, "black") if name == own else (1.5, None)
        for axes, metric in zip(panels, ("pitch_accuracy", "voicing_error"), strict=True):
            axes.plot(range(len(steps)), [s[metric] for s in shares], "o-", label=name, linewidth=width, color=colour)
    for axes, label in zip(panels, ("pitch within 50 cents, % of voiced frames", "voicing error, %"), strict=True):
        axes.set_xticks(range(len(steps)), ["clean", *(f"{snr:g} dB" for snr in SNRS_DB)])
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend()
    return _save(figure, folder / NOISE_PLOT)


def plot_stream(rows: Sequence[StreamRow], folder: Path) -> Path:
    """Draw what streams lose against one pass over the lookahead, a line for each block length and kind of state."""
    figure = _figure("Small RMVPE as a stream against one pass over the whole", (10.0, 4.6))
    panels: Sequence[Axes] = figure.subplots(1, 2)
    streams = [(row, row.settings) for row in rows if row.condition == CLEAN.name and row.settings is not None]
    least = min(row.window_frames for row, _ in streams)
    ways = dict.fromkeys((s.block_ms, s.is_carried) for row, s in streams if row.window_frames == least)
    colours = {block_ms: f"C{i}" for i, block_ms in enumerate(dict.fromkeys(ms for ms, _ in ways))}
    for block_ms, is_carried in ways:
        own = [
            row for row, s in streams if (s.block_ms, s.is_carried, row.window_frames) == (block_ms, is_carried, least)
        ]
        label = f"blocks of {block_ms} ms" + ("" if is_carried else ", state zeroed")
        style = "o-" if is_carried else "s:"
        x = [row.lookahead_ms for row in own]
        panels[0].plot(x, [row.cents_p95 for row in own], style, color=colours[block_ms], label=label)
        panels[1].plot(x, [100 * row.voicing_differs for row in own], style, color=colours[block_ms], label=label)
    for axes, label in zip(panels, ("deviation in cents, 95th percentile", "frames of other voicing, %"), strict=True):
        axes.set_ylim(bottom=0.0)
        axes.set_xticks(sorted({row.lookahead_ms for row, _ in streams}))
        axes.set_xlabel("lookahead (ms)")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
    panels[0].legend()
    return _save(figure, folder / STREAM_PLOT)


def plot_tracks(recordings: Sequence[Tracks], own: Sequence[str], folder: Path) -> Path:
    """Draw spectrograms of recordings with the F0 of all trackers, their first seconds.

    Args:
        recordings: Recordings to draw, one panel each.
        own: Names of the trackers that are drawn wide.
        folder: Folder of the figure.
    """
    figure = _figure("F0 of recordings of people", (11.0, 3.6 * len(recordings)))
    panels: Sequence[Axes] = list(figure.subplots(len(recordings), 1, squeeze=False)[:, 0])
    for axes, recording in zip(panels, recordings, strict=True):
        audio = recording.audio[: round(_SHOWN_S * SAMPLE_RATE)]
        faint = 1e-5 * np.random.default_rng(0).standard_normal(len(audio))  # digital silence has no level in dB
        axes.specgram(audio + faint, NFFT=1024, Fs=SAMPLE_RATE, noverlap=1024 - HOP, cmap="Greys", vmin=-120, vmax=-40)
        others = [f0[f0 > 0] for name, f0 in recording.f0_hz.items() if name not in own and (f0 > 0).any()]
        top = 1.6 * max((float(np.percentile(f0, 95)) for f0 in others), default=400.0)
        for i, (name, f0_hz) in enumerate(recording.f0_hz.items()):
            frames = np.arange(min(len(f0_hz), len(audio) // HOP + 1))
            shown = np.where(f0_hz[frames] > 0, f0_hz[frames], np.nan)
            # Wide and below, so that the others show on top of it.
            width, alpha, layer = (5.0, 0.5, 2) if name in own else (1.2, 1.0, 3)
            line = axes.plot(frames * HOP / SAMPLE_RATE, shown, color=f"C{i}", linewidth=width, label=name)[0]
            line.set(alpha=alpha, zorder=layer)
        axes.set_ylim(50.0, top)
        axes.set_xlim(0.0, len(audio) / SAMPLE_RATE)
        axes.set_ylabel("Hz")
        axes.set_title(recording.name, fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), ncols=4, loc="outside lower center")
    panels[-1].set_xlabel("seconds")
    return _save(figure, folder / TRACKS_PLOT)


def _figure(title: str, size_inches: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_inches, layout="constrained")
    figure.suptitle(title)
    return figure


def _save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    try:
        FigureCanvasAgg(figure).print_figure(path, format="png", dpi=110)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    return path
