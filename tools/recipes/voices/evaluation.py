"""How well a voice does: words, speaker, naturalness and melody of converted clips beside those of their sources."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....kernels.errors import AudioFileError, ParameterError
from ....kernels.types import FloatArray
from .conditions import RATE
from .manifest import Recording, at_rate, read_audio
from .meters import RATE as METER_RATE
from .meters import Meters
from .words import WordErrors, word_errors

# English speakers whom no voice was trained on, and those whose other sentences were trained on.
NEW_SPEAKERS = ("librispeech_test_other", "librispeech_many", "vctk_16k", "vctk_24k", "ljspeech32")
HELD_OUT = ("kathleen", "librispeech_19", "librispeech_26", "librispeech_27")
NOT_ENGLISH = ("flemishguy", "kerstin", "nathalie")
NOISES = "noise_esc10"
SHORTEST_S, LONGEST_S = 2.5, 14.0
TARGET_CLIPS = 16
CEILING_CLIPS = 8
_LEAST_VOICED = 20  # frames that a correlation is computed from
_HOP_MS = 5  # of the envelopes that are aligned
_MOST_LAG_MS = 150


@dataclass(frozen=True, slots=True)
class Clip:
    """A source.

    Attributes:
        name: Its path inside the data folder.
        speaker: Who speaks.
        text: What is said; empty where that is not known.
        audio: At 24 kHz [N].
    """

    name: str
    speaker: str
    text: str
    audio: FloatArray


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a voice is to sound like.

    Attributes:
        name: Set or speaker of the manifest.
        embedding: Mean of the embeddings of recordings, of length 1 [256].
        similarity: Ceiling: mean cosine of WORLD's copies of held-out recordings with it.
        dnsmos: Mean DNSMOS of these copies.
        words: Errors in these copies against their texts; None where the language is not English.
        clips: How many copies there are.
    """

    name: str
    embedding: FloatArray
    similarity: float
    dnsmos: float
    words: WordErrors | None
    clips: int


@dataclass(frozen=True, slots=True)
class ClipScores:
    """What was measured in one clip.

    Attributes:
        name: Name of the source.
        transcript: What Whisper heard.
        by_text: Word errors against the text; no words where there is none.
        by_transcript: Word errors against Whisper's transcript of the clean source, where there is no text.
        embedding: Who speaks [256].
        similarity: Cosine with the target; None without one.
        own_source: Cosine with the clean source.
        other_sources: Mean cosine with the clean clips of other speakers; None where there are none.
        dnsmos: DNSMOS, overall.
        f0_correlation: Correlation of log F0 where both are voiced; None where that is too little, or F0 constant.
        lag_ms: By how much the output comes after its source.
    """

    name: str
    transcript: str
    by_text: WordErrors
    by_transcript: WordErrors
    embedding: FloatArray
    similarity: float | None
    own_source: float
    other_sources: float | None
    dnsmos: float
    f0_correlation: float | None
    lag_ms: float


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured in some clips, by one voice in one condition, or of the sources themselves.

    Attributes:
        clips: Scores of each clip.
    """

    clips: Sequence[ClipScores]

    @property
    def by_text(self) -> WordErrors:
        """Word errors in the clips whose text is known."""
        return sum((clip.by_text for clip in self.clips), WordErrors())

    @property
    def by_transcript(self) -> WordErrors:
        """Word errors in the other clips, against Whisper's transcript of the clean source."""
        return sum((clip.by_transcript for clip in self.clips), WordErrors())

    @property
    def words(self) -> WordErrors:
        """Word errors in all clips."""
        return self.by_text + self.by_transcript

    def mean(self, name: str) -> float | None:
        """Mean of an attribute of the clips that have it."""
        values = [value for clip in self.clips if (value := getattr(clip, name)) is not None]
        return float(np.mean(values)) if values else None


def share_of_the_way(similarity: float, start: float, ceiling: float) -> float | None:
    """How far a similarity has come from where the sources are to the ceiling, in percent.

    Below 0 it is farther from the target than the sources; above 100 nearer than the target's own copies. None where
    the sources are as near as the ceiling, so that there is no way.
    """
    return 100.0 * (similarity - start) / (ceiling - start) if ceiling - start > 1e-3 else None


def source_clips(recordings: Iterable[Recording], sets: Sequence[str], count: int, seed: int = 0) -> list[Clip]:
    """Some test clips, as many from each set and from as many speakers as there are; the same for the same seed.

    Raises:
        AudioFileError: there are none, or one cannot be read.
    """
    by_set: dict[str, list[Recording]] = {name: [] for name in sets}
    for recording in recordings:
        if recording.set in by_set and recording.split == "test" and SHORTEST_S <= recording.seconds <= LONGEST_S:
            by_set[recording.set].append(recording)
    queues = [_by_speakers(found, seed) for found in by_set.values()]
    chosen: list[Recording] = []
    for rank in range(max(map(len, queues), default=0)):
        chosen += [queue[rank] for queue in queues if rank < len(queue)]
    if not chosen:
        raise AudioFileError(
            f"the manifest has no test clips of {SHORTEST_S:g} to {LONGEST_S:g} s of {', '.join(sets)}"
        )
    return [Clip(r.name, r.speaker, r.text, read_audio(r.path, RATE)) for r in chosen[:count]]


def _by_speakers(recordings: Sequence[Recording], seed: int) -> list[Recording]:
    """In an order drawn by the seed, the first clip of every speaker before the second of any; with a text first."""
    drawn = sorted(recordings, key=lambda r: (not r.text, zlib.crc32(f"{seed} {r.name}".encode())))
    count: dict[str, int] = {}
    ranked = []
    for place, recording in enumerate(drawn):
        count[recording.speaker] = count.get(recording.speaker, 0) + 1
        ranked.append((count[recording.speaker], place, recording))
    return [recording for _, _, recording in sorted(ranked, key=lambda item: item[:2])]


def measure_target(recordings: Iterable[Recording], name: str, meters: Meters) -> Target:
    """Measure whom a voice is to sound like, and the ceiling.

    Args:
        recordings: The manifest.
        name: A set or a speaker of it.
        meters: What measures.

    Raises:
        ParameterError: there is nobody of that name, or too little of them.
        AudioFileError: a recording cannot be read.
    """
    from .conversion import world_copy

    own = [r for r in recordings if name in (r.set, r.speaker) and r.seconds >= SHORTEST_S]
    held_out = sorted((r for r in own if r.split == "test"), key=lambda r: -r.seconds)[:CEILING_CLIPS]
    known = sorted((r for r in own if r.split != "test"), key=lambda r: zlib.crc32(r.name.encode()))[:TARGET_CLIPS]
    if not held_out or not known:
        raise ParameterError(
            f"the target {name!r} needs recordings of {SHORTEST_S:g} s and more in the manifest, both of the split "
            f"test and of another; it has {len(held_out)} and {len(known)}"
        )
    embedding = np.mean([meters.embedding(read_audio(r.path, METER_RATE)) for r in known], axis=0)
    embedding = (embedding / max(float(np.linalg.norm(embedding)), 1e-9)).astype(np.float32)
    copies = [at_rate(world_copy(read_audio(r.path, RATE)), RATE, METER_RATE) for r in held_out]
    words = None
    if held_out[0].set not in NOT_ENGLISH:
        counts = (word_errors(r.text, meters.transcript(copy)) for r, copy in zip(held_out, copies, strict=True))
        words = sum(counts, WordErrors())
    similarity = float(np.mean([meters.embedding(copy) @ embedding for copy in copies]))
    return Target(name, embedding, similarity, float(np.mean([meters.dnsmos(c) for c in copies])), words, len(copies))


def evaluate_outputs(
    clips: Sequence[Clip],
    outputs: Iterable[FloatArray],
    rate: int,
    meters: Meters,
    target: Target | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Scores:
    """Measure converted clips.

    Args:
        clips: The clean sources.
        outputs: What became of each: mono [N] at `rate`, aligned with the source, at any level.
        rate: Sample rate of the outputs in Hz.
        meters: What measures.
        target: Whom they are to sound like, from `measure_target`.
        advance: Called after each clip.
    """
    sources = [at_rate(clip.audio, RATE, METER_RATE) for clip in clips]
    theirs = [meters.embedding(source) for source in sources]
    scores = []
    for i, (clip, output) in enumerate(zip(clips, outputs, strict=True)):
        out = at_rate(np.nan_to_num(np.asarray(output, dtype=np.float32)), rate, METER_RATE)
        heard, embedding = meters.transcript(out), meters.embedding(out)
        reference = clip.text or meters.transcript(sources[i])
        errors = word_errors(reference, heard)
        others = [e for e, other in zip(theirs, clips, strict=True) if other.speaker != clip.speaker]
        scores.append(
            ClipScores(
                name=clip.name,
                transcript=heard,
                by_text=errors if clip.text else WordErrors(),
                by_transcript=WordErrors() if clip.text else errors,
                embedding=embedding,
                similarity=None if target is None else float(embedding @ target.embedding),
                own_source=float(embedding @ theirs[i]),
                other_sources=float(np.mean([embedding @ other for other in others])) if others else None,
                dnsmos=meters.dnsmos(out),
                f0_correlation=f0_correlation(meters.f0_hz(sources[i]), meters.f0_hz(out)),
                lag_ms=lag_ms(out, sources[i], METER_RATE),
            )
        )
        advance()
    return Scores(scores)


def f0_correlation(source_hz: FloatArray, output_hz: FloatArray) -> float | None:
    """Pearson's correlation of log F0 over the frames that are voiced in both; None where it has no meaning."""
    frames = min(len(source_hz), len(output_hz))
    source_hz, output_hz = source_hz[:frames], output_hz[:frames]
    both = (source_hz > 0) & (output_hz > 0)
    if both.sum() < _LEAST_VOICED:
        return None
    octaves = np.log2([source_hz[both], output_hz[both]])
    # A monotone voice varies by what the tracker errs.
    if octaves.std(axis=1).min() < 1e-3:
        return None
    return float(np.corrcoef(octaves)[0, 1])


def lag_ms(late: FloatArray, early: FloatArray, rate: int) -> float:
    """By how much one signal comes after another, from the correlation of their envelopes, within 150 ms either way."""
    hop = rate * _HOP_MS // 1000
    frames = min(len(late), len(early)) // hop
    if frames < 2:
        return 0.0

    def envelope(x: FloatArray) -> FloatArray:
        rms = np.sqrt(np.square(x[: frames * hop], dtype=np.float64).reshape(frames, hop).mean(axis=1))
        return np.asarray(np.sqrt(rms) - np.sqrt(rms).mean(), dtype=np.float32)

    most = min(_MOST_LAG_MS // _HOP_MS, frames - 1)
    full = np.correlate(envelope(late), envelope(early), "full")[frames - 1 - most : frames + most]
    return float((int(np.argmax(full)) - most) * _HOP_MS) if full.max() > 0 else 0.0


def between_voices(one: Scores, other: Scores) -> float:
    """Mean similarity of an output of one voice to an output of another."""
    means = [np.mean([clip.embedding for clip in scores.clips], axis=0) for scores in (one, other)]
    return float(means[0] @ means[1])


def between_speakers(clips: Sequence[Clip], sources: Scores) -> float | None:
    """Mean similarity of clips of different speakers among the sources."""
    pairs = [
        float(sources.clips[i].embedding @ sources.clips[j].embedding)
        for i in range(len(clips))
        for j in range(i)
        if clips[i].speaker != clips[j].speaker
    ]
    return float(np.mean(pairs)) if pairs else None


def read_noises(recordings: Iterable[Recording]) -> list[FloatArray]:
    """The test recordings of noise at 24 kHz.

    Raises:
        AudioFileError: there are none.
    """
    found = [read_audio(r.path, RATE) for r in recordings if r.set == NOISES and r.split == "test"]
    if not found:
        raise AudioFileError(f"the manifest has no test clips of {NOISES}, which the noisy conditions need")
    return found


def by_voice(option: str, wanted: str, pairs: Iterable[str], voices: Sequence[str]) -> dict[str, str]:
    """What an option says of voices, by voice, from pairs such as "VOICE=SPEAKER", which `wanted` describes.

    Raises:
        ParameterError: a pair is none, or its voice is not among the voices.
    """
    found = {}
    for pair in pairs:
        voice, sign, value = pair.rpartition("=")
        if not sign or not voice or not value:
            raise ParameterError(f"{option} is {pair!r}; it must be {wanted}")
        if voice not in voices:
            raise ParameterError(f"{option} is for {voice!r}, which is not measured; name it among the voices")
        found[voice] = value
    return found


def voice_label(name: str) -> str:
    """What a voice is called in tables: its name, or the last part of its path."""
    return name if Path(name).name == name else Path(name).stem
