"""The evaluation of voices: what is chosen, what is computed, how it is written, what is refused."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import made_up_neural
import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import AudioFileError, MissingDependencyError, OutputError, ParameterError
from altervox.kernels.types import FloatArray
from altervox.models.dsp.presets import DSP_VOICES
from altervox.models.neural.voice import NeuralVoice
from altervox.models.voice import Voice
from altervox.tools.recipes.documents import Table, replaced
from altervox.tools.recipes.voices import evaluation, evaluation_tables, meters
from altervox.tools.recipes.voices.conditions import CONDITIONS, RATE
from altervox.tools.recipes.voices.conversion import Converter, world_copy
from altervox.tools.recipes.voices.evaluate_command import Material, measure, targets_of_cards
from altervox.tools.recipes.voices.evaluation import (
    Clip,
    ClipScores,
    Scores,
    Target,
    by_voice,
    evaluate_outputs,
    f0_correlation,
    lag_ms,
    measure_target,
    share_of_the_way,
    source_clips,
)
from altervox.tools.recipes.voices.evaluation_tables import Result, all_tables, as_data
from altervox.tools.recipes.voices.manifest import read_audio, read_manifest
from altervox.tools.recipes.voices.meters import Meters
from altervox.tools.recipes.voices.words import WordErrors
from cli_runner import MALE, altervox

MODULE = "altervox.tools.recipes.voices"
DOCS = Path(__file__).resolve().parents[4] / "docs" / "voices.md"
HEADER = "file\tset\tspeaker\tsex\tseconds\trate\ttext\tsplit\n"


def speech(seconds: float = 3.0) -> FloatArray:
    audio = read_audio(MALE, RATE)
    return audio[: round(seconds * RATE)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with two sets of sources and two noises, and a target with clips to know and to hold out."""
    rows = []
    for set_name, speaker, split, count in (
        ("vctk_16k", "p1", "test", 3),
        ("vctk_16k", "p2", "test", 1),
        ("ljspeech32", "lj", "test", 2),
        ("kathleen", "kathleen", "train", 2),
        ("kathleen", "kathleen", "test", 1),
        ("noise_esc10", "", "test", 2),
    ):
        for k in range(count):
            name = f"{set_name}/{speaker}-{split}-{k}.wav"
            (tmp_path / set_name).mkdir(exist_ok=True)
            noise = 0.1 * np.random.default_rng(k).standard_normal(RATE, dtype=np.float32)
            soundfile.write(tmp_path / name, noise if not speaker else np.roll(speech(2.8), 977 * k), RATE)
            text = "some words" if k == 1 else ""
            rows.append(f"{name}\t{set_name}\t{speaker}\tF\t2.8\t{RATE}\t{text}\t{split}\n")
    (tmp_path / "manifest.tsv").write_text(HEADER + "".join(rows), encoding="utf-8")
    return tmp_path


class Heard(Meters):
    """Meters whose answers follow from the audio by simple rules, without any package; the kept files are real."""

    def transcript(self, audio: FloatArray, language: str = "en") -> str:
        return str(self._kept("words", audio, lambda loud: "some words"))

    def embedding(self, audio: FloatArray) -> FloatArray:
        spectrum = np.abs(np.fft.rfft(audio[:16000], 16000))[:7936].reshape(256, 31).sum(axis=1)
        return np.asarray(spectrum / max(float(np.linalg.norm(spectrum)), 1e-9), dtype=np.float32)

    def dnsmos(self, audio: FloatArray) -> float:
        return 3.0


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Heard:
    def word_errors(reference: str, got: str) -> WordErrors:
        return WordErrors(int(reference != got), 2)

    monkeypatch.setattr(evaluation, "word_errors", word_errors)
    return Heard(tmp_path / "work")


def test_as_many_clips_of_each_set_and_speaker(data: Path) -> None:
    recordings = read_manifest(data)
    clips = source_clips(recordings, ("vctk_16k", "ljspeech32"), 4)
    assert [clip.speaker for clip in clips[1::2]] == ["lj", "lj"]
    assert {clip.speaker for clip in clips[::2]} == {"p1", "p2"}
    assert clips[1].text == "some words"  # what has a text comes first
    assert [c.name for c in source_clips(recordings, ("vctk_16k", "ljspeech32"), 4)] == [c.name for c in clips]
    assert len(source_clips(recordings, ("vctk_16k",), 99)) == 4
    with pytest.raises(AudioFileError, match=r"no test clips.*nobody"):
        source_clips(recordings, ("nobody",), 4)


@pytest.mark.parametrize(
    ("similarity", "percent"), [(0.5, 0.0), (0.8, 100.0), (0.65, 50.0), (0.41, -30.0), (0.95, 150.0)]
)
def test_share_of_the_way(similarity: float, percent: float) -> None:
    assert share_of_the_way(similarity, 0.5, 0.8) == pytest.approx(percent)


def test_there_is_no_way_where_sources_are_at_the_ceiling() -> None:
    assert share_of_the_way(0.7, 0.8, 0.8) is None
    assert share_of_the_way(0.7, 0.9, 0.8) is None


@pytest.mark.parametrize("late_ms", [-100, -5, 0, 35, 120])
def test_lag_is_found(late_ms: int) -> None:
    early = speech()
    late = np.roll(early, late_ms * RATE // 1000)
    assert lag_ms(0.1 * late, early, RATE) == late_ms


def test_lag_of_silence_is_none() -> None:
    silence = np.zeros(RATE, dtype=np.float32)
    assert lag_ms(silence, speech()[:RATE], RATE) == 0.0
    assert lag_ms(silence[:10], silence[:10], RATE) == 0.0


def test_f0_correlation_ignores_register_and_needs_melody() -> None:
    melody = (100.0 * 2.0 ** (0.3 * np.sin(np.arange(200) / 9.0))).astype(np.float32)
    melody[50:70] = 0.0
    assert f0_correlation(melody, 1.9 * melody[:190]) == pytest.approx(1.0)
    assert f0_correlation(melody, (1e4 / np.maximum(melody, 1.0)).astype(np.float32)) == pytest.approx(-1.0)
    assert f0_correlation(melody, np.full(200, 110.0, dtype=np.float32)) is None
    assert f0_correlation(melody, np.zeros(200, dtype=np.float32)) is None


@pytest.mark.parametrize("block_ms", [20, 100, 0])
def test_converted_clips_are_aligned(block_ms: int) -> None:
    clip = speech()
    out = Converter(DSP_VOICES["woman"], block_ms).convert(clip)
    assert len(out) == len(clip)
    assert abs(lag_ms(out, clip, RATE)) <= 5.0


def test_each_clip_is_a_stream_of_its_own() -> None:
    converter = Converter(DSP_VOICES["woman"], 40)
    first = converter.convert(speech(2.0))
    converter.convert(np.roll(speech(2.0), 5000))
    np.testing.assert_array_equal(converter.convert(speech(2.0)), first)


def test_the_copy_of_world_is_aligned_and_alike() -> None:
    clip = speech()
    copy = world_copy(clip)
    assert len(copy) == len(clip)
    assert abs(lag_ms(copy, clip, RATE)) <= 5.0
    levels = [np.log(np.abs(np.fft.rfft(x))[:9000].reshape(300, 30).mean(axis=1)) for x in (copy, clip)]
    assert np.corrcoef(levels)[0, 1] > 0.95


def scores(similarity: float | None, errors: int, vector: int, by_text: bool = True) -> Scores:
    embedding = np.eye(256, dtype=np.float32)[vector]
    counted, nothing = WordErrors(errors, 10), WordErrors()
    words = (counted, nothing) if by_text else (nothing, counted)
    return Scores([ClipScores("a", "said", *words, embedding, similarity, 0.7, 0.5, 3.0, None, 0.0)])


CLIPS = [Clip("a", "p1", "", np.zeros(RATE, dtype=np.float32))]
TARGET = Target("kathleen", np.eye(256, dtype=np.float32)[0], 0.9, 3.2, WordErrors(1, 20), 8)


def results() -> list[Result]:
    clean, noisy = CONDITIONS["clean"], CONDITIONS["noise-10db"]
    sources = scores(None, 0, 1)
    return [
        Result("alto", clean, 20, scores(0.8, 2, 0), sources, TARGET, 0.5),
        Result("alto", noisy, 20, scores(0.7, 5, 0), sources, TARGET, 0.5),
        Result("robot", clean, 0, scores(None, 3, 1, by_text=False), sources, None, None),
    ]


def test_tables_say_what_was_measured() -> None:
    tables = all_tables(results(), CLIPS, scores(None, 0, 1), "a machine")
    assert set(tables) == set(evaluation_tables.NAMES)
    voices = tables["neural_voices"]
    rows = [dict(zip(voices.columns, row, strict=True)) for row in voices.rows]
    assert [row["WER %"] for row in rows] == ["20.0", "50.0", "30.0"]
    assert [row["% of the way"] for row in rows] == ["75", "50", ""]
    assert [row["similarity"] for row in rows] == ["0.800", "0.700", ""]
    assert [row["block ms"] for row in rows] == ["20", "20", "whole clip"]
    assert "10 words: 10 against their texts" in voices.note
    assert "a machine" in voices.note
    assert tables["neural_words"].columns == ["", "clean", "noise-10db"]
    assert tables["neural_words"].rows[1:] == [["alto", "20.0", "50.0"], ["robot", "30.0", ""]]
    assert tables["neural_targets"].rows == [["kathleen", "0.500", "0.900", "3.20", "5.0", "8"]]
    assert tables["neural_pairs"].rows == [["alto", "", "0.00"], ["robot", "0.00", ""]]


def test_tables_find_their_place() -> None:
    marks = "".join(f"<!-- table {name} -->\n<!-- end {name} -->\n" for name in evaluation_tables.NAMES)
    text = replaced(f"before\n{marks}after\n", all_tables(results(), CLIPS, scores(None, 0, 1), "a machine"))
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| alto | kathleen | noise-10db | 20 | 50.0 |" in text


def test_json_holds_what_the_tables_show() -> None:
    data = json.loads(json.dumps(as_data(results(), CLIPS, scores(None, 0, 1), "a machine")))
    first = data["results"][0]
    assert first["voice"] == "alto"
    assert first["wer_by_text"] == {"errors": 2, "words": 10}
    assert first["way_percent"] == pytest.approx(75.0)
    assert first["by_clip"][0]["heard"] == "said"
    assert first["f0_correlation"] is None
    assert data["targets"]["kathleen"]["wer_percent"] == pytest.approx(5.0)


def value(measured: Scores, name: str) -> float:
    mean = measured.mean(name)
    assert mean is not None
    return mean


def test_voices_are_measured_in_every_condition(data: Path, heard: Heard) -> None:
    recordings = read_manifest(data)
    clips = source_clips(recordings, ("vctk_16k",), 2)
    target = measure_target(recordings, "kathleen", heard)
    assert target.clips == 1
    assert target.similarity > 0.8
    material = Material(clips, [], evaluation.read_noises(recordings))
    conditions = [CONDITIONS[name] for name in ("clean", "noise-10db", "one-block")]
    announced: list[str] = []

    def start(name: str, steps: int) -> Callable[[], None]:
        announced.append(name)
        return lambda: None

    found = measure(
        {"woman": DSP_VOICES["woman"]}, {"woman": target}, {"woman": conditions}, 20, material, heard, start
    )
    assert [(r.condition.name, r.block_ms) for r in found] == [("clean", 20), ("noise-10db", 20), ("one-block", 0)]
    assert announced == ["woman, clean", "woman, noise-10db", "woman, one-block"]
    clean, noisy, whole = found
    assert clean.sources is whole.sources
    assert clean.sources.mean("own_source") == pytest.approx(1.0)
    assert 0.1 < value(noisy.sources, "own_source") < 0.999
    assert clean.scores.words == WordErrors(0, 4)
    assert all(abs(clip.lag_ms) <= 10 for r in found for clip in r.scores.clips)
    assert value(clean.scores, "f0_correlation") > 0.8


def test_outputs_of_any_rate_and_level_are_taken(heard: Heard) -> None:
    clip = Clip("a", "p1", "other words", speech())
    as_it_is, at_16k = (
        evaluate_outputs([clip], [audio], rate, heard).clips[0]
        for audio, rate in ((clip.audio, RATE), (0.01 * read_audio(MALE, 16000)[:48000], 16000))
    )
    assert as_it_is.by_text == at_16k.by_text == WordErrors(1, 2)
    assert at_16k.own_source == pytest.approx(as_it_is.own_source, abs=1e-3)
    assert as_it_is.similarity is None
    assert as_it_is.other_sources is None
    broken = evaluate_outputs([clip], [np.full(RATE, np.nan, dtype=np.float32)], RATE, heard).clips[0]
    assert broken.own_source == 0.0


def test_nothing_is_measured_twice(tmp_path: Path) -> None:
    counted = []

    def measure_once(loud: FloatArray) -> int:
        counted.append(len(loud))
        return len(counted)

    for _ in range(2):
        assert Meters(tmp_path)._kept("count", speech(), measure_once) == 1
    (kept,) = (tmp_path / "count").iterdir()
    kept.write_text("", encoding="utf-8")  # as a full disk leaves it
    assert Meters(tmp_path)._kept("count", speech(), measure_once) == 2
    assert Meters(tmp_path)._kept("other", speech(), measure_once) == 3


def test_options_that_say_something_of_voices_are_pairs() -> None:
    wanted = "--target", "VOICE=SPEAKER"
    pairs = ["alto=kathleen", "a=b.pth=27"]
    assert by_voice(*wanted, pairs, ["alto", "a=b.pth"]) == {"alto": "kathleen", "a=b.pth": "27"}
    for bad in ("kathleen", "=kathleen", "alto="):
        with pytest.raises(ParameterError, match="VOICE=SPEAKER"):
            by_voice(*wanted, [bad], ["alto"])
    with pytest.raises(ParameterError, match="'bass', which is not measured"):
        by_voice(*wanted, ["bass=kathleen"], ["alto"])


def test_cards_say_whom_a_voice_imitates(data: Path) -> None:
    recordings = read_manifest(data)
    own = made_up_neural.voice()
    voices: dict[str, Voice] = {"robot": DSP_VOICES["robot"], "unnamed": own}
    for name, speaker in (("alto", "kathleen"), ("reader", "p1"), ("stranger", "somebody")):
        voices[name] = NeuralVoice(name, (replace(own.cards[0], speaker=speaker),), own.networks)
    assert targets_of_cards(voices, recordings) == {"alto": "kathleen", "reader": "p1"}


def test_the_docs_have_a_place_for_every_table() -> None:
    replaced(DOCS.read_text(encoding="utf-8"), {name: Table("", [], []) for name in evaluation_tables.NAMES})


def test_a_target_must_be_known(data: Path, heard: Heard) -> None:
    recordings = read_manifest(data)
    with pytest.raises(ParameterError, match=r"'nobody' needs recordings.*it has 0 and 0"):
        measure_target(recordings, "nobody", heard)
    with pytest.raises(ParameterError, match="it has 2 and 0"):
        measure_target(recordings, "lj", heard)


MANIFESTS: Mapping[str, tuple[str | None, str]] = {
    "none": (None, "manifest.tsv cannot be read .*docs/voices.md"),
    "column": ("file\tset\n", "lacks the column speaker"),
    "short": (HEADER + "a.wav\tvctk_16k\n", "manifest.tsv is damaged"),
    "length": (HEADER + "a.wav\tvctk_16k\tp1\tF\tlong\t24000\t\ttest\n", "manifest.tsv is damaged"),
    "bytes": ("\xff", "manifest.tsv is damaged"),
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_a_folder_without_recordings_is_one_sentence(tmp_path: Path, what: str) -> None:
    text, complaint = MANIFESTS[what]
    if text is not None:
        (tmp_path / "manifest.tsv").write_bytes(text.encode("latin-1"))
    with pytest.raises(AudioFileError, match=complaint):
        read_manifest(tmp_path)


def test_a_damaged_recording_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(b"nothing")
    for name in ("a.ogg", "missing.ogg"):
        with pytest.raises(AudioFileError, match=f"{name} cannot be read"):
            read_audio(tmp_path / name, RATE)


@pytest.mark.parametrize("name", meters.NEEDED)
def test_a_missing_package_is_one_sentence(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    how = "--no-deps Resemblyzer" if name == "resemblyzer" else "voices-recipe"
    with pytest.raises(MissingDependencyError, match=f"{meters.NEEDED[name]}, which cannot be used .*{how}"):
        meters.package(name)


def test_a_work_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="cannot be made"):
        Meters(tmp_path / "file" / "work")


def test_the_command_refuses_before_it_computes(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "page.md").write_text("no marks", encoding="utf-8")
    for arguments, code, complaint in (
        (["nobody"], 2, "no voice 'nobody'"),
        (["woman", "--conditions", "storm"], 2, "no condition 'storm'"),
        (["woman", "--target", "woman"], 2, "VOICE=SPEAKER"),
        (["woman", "--into", tmp_path / "page.txt"], 2, "a .md with marks"),
        (["woman", "--into", tmp_path / "page.md"], 2, "<!-- table neural_words -->"),
        (["woman", "--into", tmp_path / "absent.md"], 1, "absent.md cannot be read"),
    ):
        done = altervox("evaluate", *arguments, "--speech", data, module=MODULE)
        assert (done.code, done.out) == (code, ""), done.err
        assert complaint in done.err
    monkeypatch.setitem(sys.modules, "pyrnnoise", None)
    done = altervox("evaluate", "woman", "--conditions", "denoised-10db", "--speech", data, module=MODULE)
    assert (done.code, done.out) == (1, "")
    assert "need RNNoise" in done.err
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    done = altervox("evaluate", "woman", "--speech", data, module=MODULE)
    assert done.code == 1
    assert "faster-whisper" in done.err
    assert "voices-recipe" in done.err
    assert "Traceback" not in done.err
