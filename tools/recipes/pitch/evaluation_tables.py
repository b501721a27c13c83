"""The tables of the pitch evaluation: Markdown for the terminal and for docs/pitch.md, and figures for `--json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..documents import Table
from .corpus import Clip
from .evaluation import CLEAN, NOISES, SNRS_DB, TELEPHONE, Condition, Counts, Result, pooled
from .references import SAMPLE_RATE
from .stream_evaluation import SpeedRow, StreamRow

BOTH = "pitch accuracy % / voicing error %"
_METRICS = {
    "pitch_accuracy": "pitch accuracy %",
    "octave_errors": "octave errors %",
    "median_cents": "median cents",
    "voicing_error": "voicing error %",
    "missed": "voiced missed %",
    "false_alarms": "voiced wrongly %",
    "overall_accuracy": "overall accuracy %",
}
_BY_SNR = {f"{snr:g} dB": [Condition(noise, snr).name for noise in NOISES] for snr in SNRS_DB}


def extent(clips: Sequence[Clip], what: str = "clips") -> str:
    """How much is judged, in words."""
    seconds = sum(len(clip.audio) for clip in clips) / SAMPLE_RATE
    known = 100.0 * sum(int(clip.known.sum()) for clip in clips) / sum(len(clip.known) for clip in clips)
    return f"{len(clips)} {what}, {seconds:.0f} s, {known:.0f} % of the frames labelled"


def accuracy_tables(results: Sequence[Result], clips: Sequence[Clip]) -> dict[str, Table]:
    """All tables of trackers on labelled clips."""
    kinds = list(dict.fromkeys(result.kind for result in results))
    kind_names = {f"{kind} ({sum(clip.kind == kind for clip in clips)})": [kind] for kind in kinds}
    noises = {f"{noise} {snr:g} dB": [Condition(noise, snr).name] for noise in NOISES for snr in SNRS_DB}
    by_snr = {"clean": [CLEAN.name], **_BY_SNR, "telephone": [TELEPHONE.name]}
    said, at_10_db = extent(clips), _BY_SNR["10 dB"]
    return {
        "accuracy": grid(f"{said}; {BOTH}.", results, by_snr),
        "noises": grid(f"The same clips by noise; {BOTH}.", results, noises),
        "kinds": _kinds(f"The same clips by kind (and how many), clean; {BOTH}.", results, [CLEAN.name], kind_names),
        "kinds_noisy": _kinds(f"The same in noise at 10 dB; {BOTH}.", results, at_10_db, kind_names),
        "details": _details("The same clips, clean.", results, [CLEAN.name]),
        "details_noisy": _details("The same clips in noise at 10 dB.", results, at_10_db),
    }


def grid(note: str, results: Sequence[Result], columns: Mapping[str, Sequence[str]]) -> Table:
    """Pitch accuracy and voicing error, a row for each tracker.

    Args:
        note: Above the table.
        results: Results to show.
        columns: Names of the conditions that are pooled, by heading.
    """
    rows = [
        [name, *(_both(pooled(own, conditions)) for conditions in columns.values())]
        for name, own in _by_tracker(results).items()
    ]
    return Table(note, ["tracker", *columns], rows)


def _kinds(
    note: str, results: Sequence[Result], conditions: Sequence[str], columns: Mapping[str, Sequence[str]]
) -> Table:
    rows = [
        [name, *(_both(pooled(own, conditions, kinds)) for kinds in columns.values())]
        for name, own in _by_tracker(results).items()
    ]
    return Table(note, ["tracker", *columns], rows)


def _details(note: str, results: Sequence[Result], conditions: Sequence[str]) -> Table:
    rows = []
    for name, own in _by_tracker(results).items():
        shares = pooled(own, conditions).percentages()
        rows.append([name, *(f"{shares[metric]:.1f}" for metric in _METRICS)])
    return Table(note, ["tracker", *_METRICS.values()], rows)


def _by_tracker(results: Sequence[Result]) -> dict[str, list[Result]]:
    names = dict.fromkeys(result.tracker for result in results)
    return {name: [result for result in results if result.tracker == name] for name in names}


def _both(counts: Counts) -> str:
    shares = counts.percentages()
    return f"{shares['pitch_accuracy']:.1f} / {shares['voicing_error']:.1f}"


def stream_table(note: str, rows: Sequence[StreamRow]) -> Table:
    """What streams lose, a row for each way."""
    columns = [
        "lookahead ms",
        "block ms",
        "window, frames",
        "state",
        "pitch accuracy %",
        "voicing error %",
        "other voicing than one pass %",
        "cents from one pass p50",
        "p95",
        "over 50 cents %",
    ]
    cells = []
    for row in rows:
        shares = row.counts.percentages()
        judged = [f"{shares['pitch_accuracy']:.1f}", f"{shares['voicing_error']:.1f}"]
        if row.settings is None:
            cells.append(["one pass", "", "", "", *judged, "", "", "", ""])
            continue
        state = "carried" if row.settings.is_carried else "zeroed"
        against = [f"{100 * row.voicing_differs:.1f}", f"{row.cents_p50:.1f}", f"{row.cents_p95:.1f}"]
        lengths = [str(row.lookahead_ms), str(row.settings.block_ms), str(row.window_frames)]
        cells.append([*lengths, state, *judged, *against, f"{100 * row.off:.1f}"])
    return Table(note, columns, cells)


def speed_table(note: str, rows: Sequence[SpeedRow]) -> Table:
    """Time per block, a row for each backend and window."""
    cells = []
    for row in rows:
        times = ["not available", "", "", "", ""]
        if row.milliseconds is not None:
            times = [f"{ms:.2f}" for ms in (row.mean_cpu_ms, *row.milliseconds)]
        cells.append([row.backend, str(row.window_frames), *times])
    return Table(note, ["backend", "window, frames", "mean processor time", "p50", "p95", "p99", "most"], cells)


def results_as_data(results: Sequence[Result]) -> list[dict[str, Any]]:
    """For JSON; what does not exist is null."""
    return [
        {
            "tracker": result.tracker,
            "condition": result.condition,
            "kind": result.kind,
            "clips": result.clips,
            "frames": result.counts.frames,
            **_plain(result.counts),
        }
        for result in results
    ]


def streams_as_data(rows: Sequence[StreamRow]) -> list[dict[str, Any]]:
    """For JSON; the row of one pass has no settings."""
    return [
        {
            "condition": row.condition,
            "lookahead_ms": None if row.settings is None else row.lookahead_ms,
            "block_ms": None if row.settings is None else row.settings.block_ms,
            "is_carried": None if row.settings is None else row.settings.is_carried,
            "window_frames": None if row.settings is None else row.window_frames,
            "voicing_differs_percent": 100 * row.voicing_differs,
            "cents_p50": row.cents_p50,
            "cents_p95": row.cents_p95,
            "off_percent": 100 * row.off,
            **_plain(row.counts),
        }
        for row in rows
    ]


def speed_as_data(rows: Sequence[SpeedRow]) -> list[dict[str, Any]]:
    """For JSON; `ms` is p50, p95, p99 and the most of the time by the clock."""
    return [
        {
            "backend": row.backend,
            "window_frames": row.window_frames,
            "mean_cpu_ms": row.mean_cpu_ms if row.milliseconds else None,
            "ms": row.milliseconds,
            "reason": row.reason,
        }
        for row in rows
    ]


def _plain(counts: Counts) -> dict[str, float | None]:
    return {name: None if share != share else share for name, share in counts.percentages().items()}
