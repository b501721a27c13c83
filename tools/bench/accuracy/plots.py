"""The figures of `python -m altervox.tools.bench.accuracy --plots`, drawn by matplotlib, which is an extra."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ....kernels.errors import MissingDependencyError, OutputError
from ....kernels.extras import how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .windows import ContentRow, PitchRow

GENERATOR_PLOT = "generator_lookahead.png"
PITCH_PLOT = "pitch_lookahead.png"
CONTENT_PLOT = "content_context.png"


def prepare(folder: Path) -> None:
    """Find out before the long computation whether figures can be drawn and have a place.

    Raises:
        MissingDependencyError: matplotlib is not installed.
        OutputError: the folder cannot be made.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"figures need matplotlib, which is not installed: {how_to_install('plots')}"
        ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made: {error.strerror}") from error


def plot_generator(rows: Sequence[tuple[int, float]], used_ms: int, folder: Path) -> Path:
    """Draw the error of flow and decoder over the lookahead.

    Args:
        rows: Lookahead in ms and relative RMS error.
        used_ms: The default lookahead, which is marked.
        folder: Folder of the figure.
    """
    figure, axes = _figure("Flow and decoder against the whole (random weights)")
    axes.semilogy([ms for ms, _ in rows], [error for _, error in rows], "o-")
    axes.axvline(used_ms, color="0.5", linestyle="--", linewidth=1)
    axes.annotate(f"default, {used_ms} ms", (used_ms, 1.0), (4, -12), ("data", "axes fraction"), "offset points")
    axes.set_xlabel("lookahead (ms)")
    axes.set_ylabel("relative RMS error")
    return _save(figure, folder / GENERATOR_PLOT)


def plot_pitch(rows: Sequence[PitchRow], folder: Path) -> Path:
    """Draw the error of streaming RMVPE over the lookahead, a line for each window and kind of state."""
    figure, axes = _figure("Streaming RMVPE against one pass over the whole (random weights)")
    windows = sorted({row.window_frames for row in rows})
    for i, window in enumerate(windows):
        own = [row for row in rows if row.window_frames == window]
        x, name = [row.lookahead_ms for row in own], f"window of {10 * window} ms"
        # Lines of two windows may coincide: those drawn earlier are wider and show on both sides of the later ones.
        width = 1.5 + 4.0 * (len(windows) - 1 - i)
        for errors, style, state in (
            ([row.carried[0] for row in own], "o-", "carried"),
            ([row.zeroed[0] for row in own], "s--", "zeroed before each step"),
        ):
            axes.plot(
                x,
                errors,
                style,
                color=f"C{i}",
                linewidth=width,
                markersize=4.0 + width,
                alpha=1.0 if i == len(windows) - 1 else 0.4,
                label=f"{name}, state {state}",
            )
    axes.set_ylim(bottom=0.0)
    axes.set_xticks(sorted({row.lookahead_ms for row in rows}))
    axes.set_xlabel("lookahead (ms)")
    axes.set_ylabel("relative RMS error of salience")
    axes.legend()
    return _save(figure, folder / PITCH_PLOT)


def plot_content(rows: Sequence[ContentRow], folder: Path) -> Path:
    """Draw the error of content features and prior over what the whole voice computes, one panel for each block."""
    from matplotlib.figure import Figure

    blocks_ms = list(rows[0].gflop_per_second)
    figure = Figure(figsize=(4.8 * len(blocks_ms), 4.5), layout="constrained")
    figure.suptitle("Content window against one pass over the whole (random weights)")
    panels = figure.subplots(1, len(blocks_ms), sharey=True, squeeze=False)[0]
    for axes, block_ms in zip(panels, blocks_ms, strict=True):
        x = [row.gflop_per_second[block_ms] for row in rows]
        axes.plot(x, [row.features for row in rows], "o-", label="HuBERT features")
        axes.plot(x, [row.prior for row in rows], "s-", label="prior mean, given exact features")
        for gflop, row in zip(x, rows, strict=True):
            axes.annotate(f"{row.context_ms} ms", (gflop, row.features), (5, 5), textcoords="offset points")
        axes.set_title(f"blocks of {block_ms} ms; at each point: context", fontsize="medium")
        axes.set_xlabel("GFLOP per second of audio, whole RVC voice")
        axes.margins(x=0.3)
        axes.set_ylim(0.0, 1.2 * max(max(row.features, row.prior) for row in rows))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("relative RMS error")
    panels[0].legend()
    return _save(figure, folder / CONTENT_PLOT)


def _figure(title: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _save(figure: Figure, path: Path) -> Path:
    """Write beside the place and rename, so that no reader finds half a figure.

    Raises:
        OutputError: the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    part = path.with_name(f".altervox-{secrets.token_hex(4)}.part")
    try:
        FigureCanvasAgg(figure).print_figure(part, format="png", dpi=120)
        part.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    return path
