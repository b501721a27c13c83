"""The tables of the evaluation of voices, and what its JSON holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..documents import Table
from .conditions import Condition
from .evaluation import Clip, Scores, Target, between_speakers, between_voices, share_of_the_way
from .words import WordErrors

NAMES = ("neural_words", "neural_voices", "neural_targets", "neural_pairs")


@dataclass(frozen=True, slots=True)
class Result:
    """One voice in one condition.

    Attributes:
        voice: Its label.
        condition: What happened to the clips.
        block_ms: In blocks of what length they came; 0 for the whole clip in one.
        scores: What was measured in its output.
        sources: What was measured in the audio that the voice heard.
        target: Whom it is to sound like; None for a voice that is nobody's.
        start: Mean similarity of the clean sources to the target; None without one.
    """

    voice: str
    condition: Condition
    block_ms: int
    scores: Scores
    sources: Scores
    target: Target | None
    start: float | None

    @property
    def way_percent(self) -> float | None:
        """The share of the way from the sources to the target's ceiling."""
        similarity = self.scores.mean("similarity")
        if self.target is None or self.start is None or similarity is None:
            return None
        return share_of_the_way(similarity, self.start, self.target.similarity)


def all_tables(results: Sequence[Result], clips: Sequence[Clip], clean: Scores, machine: str) -> dict[str, Table]:
    """The tables by name: of lost words, of all figures, of whom the voices imitate, and of how alike they are.

    Args:
        results: All voices in all conditions.
        clips: Sources by speakers that no voice was trained on.
        clean: What was measured in these sources.
        machine: What the voices ran on.
    """
    return {
        "neural_words": _words(results),
        "neural_voices": _voices(results, clips, clean, machine),
        "neural_targets": _targets(results),
        "neural_pairs": _pairs(results),
    }


def _words(results: Sequence[Result]) -> Table:
    """One row for each voice, one column for each condition."""
    conditions = list(dict.fromkeys(result.condition.name for result in results))
    words: dict[str, dict[str, str]] = {"(source)": {}}
    for result in results:
        words["(source)"][result.condition.name] = _one(result.sources.words.percent)
        words.setdefault(result.voice, {})[result.condition.name] = _one(result.scores.words.percent)
    rows = [[voice, *(row.get(condition, "") for condition in conditions)] for voice, row in words.items()]
    return Table("Word error rate in percent, of the sources themselves and of each voice.", ["", *conditions], rows)


def _voices(results: Sequence[Result], clips: Sequence[Clip], clean: Scores, machine: str) -> Table:
    seconds = sum(len(clip.audio) for clip in clips) / 24000
    known, guessed = clean.by_text, clean.by_transcript
    note = (
        f"{len(clips)} English clips of {len({clip.speaker for clip in clips})} speakers on whom no voice was trained, "
        f"{seconds:.0f} s, {known.words + guessed.words} words: {known.words} against their texts, of which Whisper "
        f"hears {_one(known.percent)} % wrongly in the sources, and {guessed.words} against its own transcript of the "
        f"clean source; DNSMOS of the sources {_two(clean.mean('dnsmos'))}, similarity between different speakers "
        f"among them {_two(between_speakers(clips, clean))}; {machine}."
    )
    columns = [
        "voice",
        "target",
        "condition",
        "block ms",
        "WER %",
        "sources' WER %",
        "similarity",
        "% of the way",
        "to own source",
        "to other sources",
        "DNSMOS",
        "F0 correlation",
    ]
    rows = [
        [
            result.voice,
            result.target.name if result.target else "",
            result.condition.name,
            str(result.block_ms) if result.block_ms else "whole clip",
            _one(result.scores.words.percent),
            _one(result.sources.words.percent),
            _three(result.scores.mean("similarity")),
            _whole(result.way_percent),
            _two(result.scores.mean("own_source")),
            _two(result.scores.mean("other_sources")),
            _two(result.scores.mean("dnsmos")),
            _two(result.scores.mean("f0_correlation")),
        ]
        for result in results
    ]
    return Table(note, columns, rows)


def _targets(results: Sequence[Result]) -> Table:
    """One row for each target: where the way begins and where it ends."""
    found = {
        r.target.name: (r.target, r.start) for r in results if r.target is not None and not r.condition.is_held_out
    }
    rows = [
        [
            name,
            _three(start),
            _three(target.similarity),
            _two(target.dnsmos),
            _one(target.words.percent) if target.words else "",
            str(target.clips),
        ]
        for name, (target, start) in found.items()
    ]
    note = (
        "Where the way begins and ends: similarity of the sources to a target, and of WORLD's copies of its own clips."
    )
    return Table(note, ["target", "sources", "ceiling", "DNSMOS of the copies", "WER % of the copies", "copies"], rows)


def _pairs(results: Sequence[Result]) -> Table:
    """How alike the voices sound on clean clips."""
    clean = {r.voice: r.scores for r in results if r.condition.name == "clean"}
    rows = [
        [one, *("" if one == other else _two(between_voices(clean[one], clean[other])) for other in clean)]
        for one in clean
    ]
    return Table("Mean similarity of an output of one voice to an output of another, clean.", ["", *clean], rows)


def as_data(results: Sequence[Result], clips: Sequence[Clip], clean: Scores, machine: str) -> dict[str, Any]:
    """All figures, those of every clip included, for JSON; what does not exist is null."""
    return {
        "machine": machine,
        "sources": {
            "clips": len(clips),
            "seconds": sum(len(clip.audio) for clip in clips) / 24000,
            "between_speakers": between_speakers(clips, clean),
            **_scores(clean),
        },
        "targets": {
            r.target.name: {
                "sources_similarity": r.start,
                "similarity": r.target.similarity,
                "dnsmos": r.target.dnsmos,
                "wer_percent": r.target.words.percent if r.target.words else None,
                "clips": r.target.clips,
            }
            for r in results
            if r.target is not None and not r.condition.is_held_out
        },
        "results": [
            {
                "voice": r.voice,
                "target": r.target.name if r.target else None,
                "condition": r.condition.name,
                "block_ms": r.block_ms,
                "sources_wer_percent": r.sources.words.percent,
                "sources_dnsmos": r.sources.mean("dnsmos"),
                "way_percent": r.way_percent,
                **_scores(r.scores),
            }
            for r in results
        ],
    }


def _scores(scores: Scores) -> dict[str, Any]:
    names = ("similarity", "own_source", "other_sources", "dnsmos", "f0_correlation", "lag_ms")
    return {
        "wer_percent": scores.words.percent,
        "wer_by_text": _counts(scores.by_text),
        "wer_by_transcript": _counts(scores.by_transcript),
        **{name: scores.mean(name) for name in names},
        "by_clip": [
            {
                "name": clip.name,
                "heard": clip.transcript,
                "wer_percent": (clip.by_text + clip.by_transcript).percent,
                **{name: getattr(clip, name) for name in names},
            }
            for clip in scores.clips
        ],
    }


def _counts(errors: WordErrors) -> dict[str, int]:
    return {"errors": errors.errors, "words": errors.words}


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _one(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _three(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
