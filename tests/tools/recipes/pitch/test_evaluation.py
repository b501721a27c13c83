"""The pitch evaluation: what is counted, what the conditions are, and the command from corpus to tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from altervox.kernels.errors import AltervoxError, AudioFileError, OutputError, ParameterError
from altervox.kernels.types import FloatArray
from altervox.models.pitch.rmvpe import RMVPE
from altervox.realtime.stages.pitch import StreamingRMVPE
from altervox.tools.recipes.documents import Table, replaced
from altervox.tools.recipes.pitch import evaluate_command, evaluation, stream_evaluation
from altervox.tools.recipes.pitch.corpus import Clip, write_clip
from altervox.tools.recipes.pitch.evaluate_command import CREPE_TABLE, TABLES, evaluate
from altervox.tools.recipes.pitch.evaluation import CLEAN, TELEPHONE, Condition, Counts
from altervox.tools.recipes.pitch.references import World
from altervox.tools.recipes.pitch.stream_evaluation import StreamSettings
from click.testing import CliRunner, Result
from safetensors.torch import save_file

DOCS = Path(__file__).resolve().parents[4] / "docs" / "pitch.md"


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """The command computes on one thread, and leaves it so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def clip(name: str, voice: str, kind: str = "world", f0_hz: float = 150.0, seconds: float = 1.2) -> Clip:
    """Half a second of silence, then a harmonic tone."""
    samples = round(16000 * seconds)
    time = np.arange(samples) / 16000
    audio = 0.1 * np.sum([np.sin(2 * np.pi * k * f0_hz * time + k * k) / k for k in range(1, 12)], axis=0)
    audio[:8000] = 0.0
    label = np.full(samples // 160 + 1, f0_hz, dtype=np.float32)
    label[:50] = 0.0
    return Clip(name, audio.astype(np.float32), label, np.ones(len(label), dtype=bool), voice, kind)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(evaluate, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("network") / "small.safetensors"
    save_file({name: value.contiguous() for name, value in RMVPE(4, 1, 1, 16).state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for split, voices in (("tune", ("ada", "bob")), ("test", ("cy", "di"))):
        for voice, f0_hz in zip(voices, (120.0, 220.0), strict=True):
            for kind in ("raw", "world"):
                write_clip(folder, split, clip(f"{voice}-{kind}", voice, kind, f0_hz))
    return folder


def test_every_kind_of_frame_is_counted_as_what_it_is() -> None:
    label = np.array([100, 100, 100, 100, 100, 100, 0, 0, 100, 0], dtype=np.float32)
    known = np.array([1, 1, 1, 1, 1, 1, 1, 1, 0, 0], dtype=bool)
    near, far = 100 * 2 ** (49 / 1200), 100 * 2 ** (51 / 1200)
    f0 = np.array([100, near, far, 200, 25 * 2 ** (30 / 1200), 100, 100, 100, 300, 300], dtype=np.float32)
    voiced = np.array([1, 1, 1, 1, 1, 0, 0, 1, 1, 1], dtype=bool)
    found = evaluation.count(f0, voiced, label, known)
    assert (found.voiced, found.unvoiced, found.frames) == (6, 2, 8)
    assert found.right_pitch == 3, "two near ones and one that is right but called unvoiced"
    assert found.octave_errors == 2, "an octave above and two below"
    assert (found.missed, found.false_alarms) == (1, 1)
    assert found.right == 3, "two voiced and one unvoiced"
    assert found.cents.nonzero()[0].tolist() in ([0, 48], [0, 49])


def test_no_estimate_is_wrong_and_no_octave_error() -> None:
    label = np.full(3, 100, dtype=np.float32)
    found = evaluation.count(np.zeros(3, dtype=np.float32), label < 0, label, label > 0)
    assert (found.right_pitch, found.octave_errors, found.missed) == (0, 0, 3)


def test_percentages_of_sums() -> None:
    cents = np.zeros(50, dtype=np.int64)
    cents[3] = 5
    total = Counts(voiced=6, unvoiced=4, right_pitch=3, missed=1, cents=cents) + Counts(
        voiced=4, right_pitch=2, right=2
    )
    shares = total.percentages()
    assert shares["pitch_accuracy"] == 50.0
    assert shares["missed"] == 10.0
    assert shares["voicing_error"] == pytest.approx(100 / 14)
    assert shares["median_cents"] == 3.5
    assert np.isnan(Counts(voiced=1).percentages()["false_alarms"])


def test_best_threshold_is_the_best_of_all() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        confidence = (rng.integers(0, 8, 25) / 8).astype(np.float32)  # with ties
        voiced = rng.random(25) < confidence
        chosen = evaluation.best_threshold(confidence, voiced)
        errors = [((confidence > t) != voiced).sum() for t in np.arange(-1, 9) / 8]
        assert ((confidence > chosen) != voiced).sum() == min(errors)


@pytest.mark.parametrize("snr_db", [20.0, 0.0, -5.0])
def test_noise_is_measured_against_the_voice_without_its_pauses(snr_db: float) -> None:
    voice = clip("a", "ada")
    noise = 7.0 * np.random.default_rng(0).standard_normal(len(voice.audio), dtype=np.float32)
    mixed = evaluation.add_noise(voice.audio, noise, snr_db)
    assert np.abs(mixed).max() <= 1.0
    heard_noise = np.mean(mixed[:7000] ** 2)
    heard_voice = np.mean(mixed[9000:] ** 2) - heard_noise
    assert 10 * np.log10(heard_voice / heard_noise) == pytest.approx(snr_db, abs=0.7)


def test_pink_noise_falls_by_3_db_an_octave() -> None:
    long = clip("a", "ada", seconds=20)
    noise = evaluation.make_noise("pink", long, [], np.random.default_rng(0))
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / 16000)
    levels = [10 * np.log10(power[(hz >= low) & (hz < 2 * low)].mean()) for low in (125, 250, 500, 1000, 2000, 4000)]
    np.testing.assert_allclose(np.diff(levels), -3.0, atol=0.4)


def test_conditions_are_the_same_every_time_and_differ_by_clip() -> None:
    clips = [clip("a", "ada"), clip("b", "bob", f0_hz=210.0), clip("c", "cy", f0_hz=90.0)]
    for condition in evaluation.CONDITIONS:
        first, again = (evaluation.disturbed(clips[0], condition, clips) for _ in range(2))
        np.testing.assert_array_equal(first, again)
        assert len(first) == len(clips[0].audio)
        assert (condition == CLEAN) == np.array_equal(first, clips[0].audio)
    renamed = clip("d", "ada")
    noisy = Condition("white", 10.0)
    assert not np.array_equal(evaluation.disturbed(clips[0], noisy, clips), evaluation.disturbed(renamed, noisy, clips))


def test_babble_is_of_other_voices() -> None:
    own, other = clip("a", "ada", f0_hz=150.0), clip("b", "bob", f0_hz=400.0)
    babble = evaluation.make_noise("babble", own, [own, other], np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(babble * np.hanning(len(babble))))
    hz = np.fft.rfftfreq(len(babble), 1 / 16000)
    assert spectrum[np.abs(hz - 150.0).argmin()] < 0.01 * spectrum[np.abs(hz - 400.0).argmin()]
    with pytest.raises(ParameterError, match="other voices"):
        evaluation.make_noise("babble", own, [own], np.random.default_rng(0))


def test_telephone_keeps_its_band_in_time() -> None:
    time = np.arange(16000) / 16000
    gains = {}
    for hz in (100, 1000, 5000):
        audio = (0.1 * np.sin(2 * np.pi * hz * time)).astype(np.float32)
        voice = Clip("a", audio, np.zeros(101, np.float32), np.ones(101, bool), "ada", "raw")
        heard = evaluation.disturbed(voice, TELEPHONE, [])[2000:-2000]
        gains[hz] = np.dot(heard, audio[2000:-2000]) / np.dot(audio[2000:-2000], audio[2000:-2000])
    assert gains[1000] == pytest.approx(1.0, abs=0.02), "neither weaker nor shifted"
    assert abs(gains[100]) < 0.01
    assert abs(gains[5000]) < 0.01


def test_consensus_needs_two_thirds() -> None:
    off = 100 * 2 ** (130 / 1200)
    f0_hz = np.array(
        [[100, 100, 200, 0, 100, 90], [101, 101, 101, 0, 0, 100], [99, off, 100, 0, 0, 111], [0, 100, 100, 80, 100, 0]],
        dtype=np.float32,
    )
    label, known = evaluation.consensus(f0_hz, f0_hz > 0)  # of 4, 3 must agree
    assert known.tolist() == [True, True, True, True, False, False]
    np.testing.assert_allclose(label, [100, 100, 100, 0, 0, 0], atol=0.1)
    _, known = evaluation.consensus(f0_hz, np.zeros_like(f0_hz, dtype=bool))
    assert known.all(), "an F0 does not count where its tracker hears no voice"


def test_subset_takes_as_many_of_each_kind_from_all_over_the_list() -> None:
    clips = [clip(f"{kind}{i}", "ada", kind, seconds=0.6) for kind in ("raw", "world") for i in range(9)]
    assert [c.name for c in evaluation.subset(clips, 3)] == ["raw0", "raw4", "raw8", "world0", "world4", "world8"]
    assert len(evaluation.subset(clips, 99)) == 18


def test_a_good_tracker_is_right_and_thresholds_decide_on_voicing() -> None:
    clips, ticks = [clip("a", "ada"), clip("b", "bob", "raw", f0_hz=210.0)], []
    thresholds = {"good": 0.5, "deaf": 2.0}
    found = evaluation.evaluate(World("harvest"), thresholds, clips, [CLEAN], clips, lambda: ticks.append(1))
    good, deaf = (evaluation.pooled([r for r in found if r.tracker == name], ["clean"]) for name in thresholds)
    assert len(ticks) == 2
    assert {(r.tracker, r.kind) for r in found} == {(name, kind) for name in thresholds for kind in ("world", "raw")}
    assert good.percentages()["pitch_accuracy"] > 95
    assert good.percentages()["voicing_error"] < 5
    assert deaf.percentages()["missed"] == 100
    assert deaf.right_pitch == good.right_pitch, "pitch is judged whatever is said about voicing"


def test_stream_salience_is_what_a_stream_gives() -> None:
    torch.manual_seed(0)
    model, audio = RMVPE(4, 1, 1, 16), clip("a", "ada").audio[:15000]
    stream = StreamingRMVPE(model, 2, 4)
    carried = stream_evaluation.stream_salience(stream, audio, is_carried=True)
    assert carried.shape == (15000 // 160 + 1, 360)
    stream.reset()
    at_once = stream.push_salience(audio)
    np.testing.assert_array_equal(carried[: len(at_once)], at_once)
    stream.reset()
    zeroed = stream_evaluation.stream_salience(stream, audio, is_carried=False)
    assert np.abs(zeroed - carried)[20:].max() > 1e-4


def test_one_pass_does_not_differ_from_itself_and_a_stream_does() -> None:
    torch.manual_seed(0)
    ways = [StreamSettings(2, 20), StreamSettings(2, 20, window_frames=96)]
    rows = list(stream_evaluation.compare_streams(RMVPE(4, 1, 1, 16), [clip("a", "ada")], ways, None, lambda: None))
    assert [(r.condition, r.lookahead_ms, r.window_frames) for r in rows] == [
        ("clean", 0, 0),
        ("clean", 50, 64),
        ("clean", 50, 96),
        ("pink 10 dB", 0, 0),
        ("pink 10 dB", 50, 64),
    ]
    assert (rows[0].cents_p95, rows[0].voicing_differs) == (0.0, 0.0)
    assert rows[1].cents_p95 > 0.0


def test_blocks_are_timed_and_an_absent_backend_is_said() -> None:
    model = RMVPE(4, 1, 1, 16)
    row = stream_evaluation.time_blocks(model, "eager", None, 64, blocks=20)
    assert row.milliseconds is not None
    assert 0 < row.milliseconds[0] <= row.milliseconds[1] <= row.milliseconds[2] <= row.milliseconds[3]
    absent = stream_evaluation.time_blocks(model, "onnx", None, 64, blocks=20)
    assert absent.milliseconds is None
    assert absent.reason


def test_tables_go_to_their_places() -> None:
    text = "a\n<!-- table one -->\nold\n<!-- end one -->\nb\n<!-- table two -->\n<!-- end two -->\n"
    table = Table("Note \\1.", ["x"], [["1 | 2"]])
    got = replaced(text, {"one": table})
    assert got.startswith("a\n<!-- table one -->\n\nNote \\1.\n\n| x |\n| --- |\n")
    assert "old" not in got
    assert got.endswith("<!-- end one -->\nb\n<!-- table two -->\n<!-- end two -->\n")
    assert replaced(got, {"one": table}) == got
    for bad in ("", text + text, "<!-- end one --><!-- table one -->"):
        with pytest.raises(ParameterError, match="table one"):
            replaced(bad, {"one": table})


def test_docs_have_a_place_for_every_table() -> None:
    names = [CREPE_TABLE, *(name for names in TABLES.values() for name in names)]
    replaced(DOCS.read_text(encoding="utf-8"), {name: Table("", [], []) for name in names})


def test_command_fills_tables_figures_and_json(
    corpus: Path, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = [StreamSettings(right, 20) for right in (0, 4)]
    monkeypatch.setattr(stream_evaluation, "settings_to_compare", lambda: ways)
    monkeypatch.setattr(evaluate_command, "REFERENCES", ("WORLD dio",))
    docs = tmp_path / "pitch.md"
    docs.write_text(DOCS.read_text(encoding="utf-8"), encoding="utf-8")
    common = ["--corpus", corpus, "--model", network, "--quick", "--part", "accuracy", "--part", "stream"]
    done = run(*common, "--docs", docs, "--plots", tmp_path / "figures", "--json")
    assert done.exception is None, done.exception
    data = json.loads(done.stdout)
    dio = [row for row in data["accuracy"] if row["tracker"] == "WORLD dio"]
    assert {row["kind"] for row in dio} == {"raw", "world"}
    clean = next(row for row in dio if (row["condition"], row["kind"]) == ("clean", "raw"))
    assert clean["pitch_accuracy"] > 90
    assert {row["lookahead_ms"] for row in data["stream"]} == {None, 30, 70}
    assert "| WORLD dio |" in docs.read_text(encoding="utf-8")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"pitch_noise.png", "pitch_stream.png"}


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["--part", "stream"], ParameterError, "--corpus"),
        (["--corpus", "{empty}", "--part", "stream"], AudioFileError, "no clips"),
        (["--part", "speed", "--docs", "{empty}/none.md"], OutputError, "none.md"),
        (["--part", "speed", "--docs", "{plain}"], ParameterError, "table speed"),
        (["--part", "speed", "--recordings", "{empty}"], AudioFileError, r"no \*.wav"),
        (["--part", "speed", "--plots", "{plain}/figures"], OutputError, "figures"),
    ],
)
def test_what_cannot_work_is_refused_in_words(
    arguments: list[str], error: type[AltervoxError], words: str, network: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "plain.md").write_text("no place for tables", encoding="utf-8")
    names = {"empty": tmp_path / "empty", "plain": tmp_path / "plain.md"}
    done = run("--model", network, *(argument.format(**names) for argument in arguments))
    assert isinstance(done.exception, error)
    with pytest.raises(error, match=words):
        raise done.exception


def test_recordings_of_a_clone_and_of_folders_are_found(tmp_path: Path) -> None:
    (tmp_path / "own.wav").touch()
    found = evaluate_command.find_recordings([tmp_path])
    assert found[-1] == tmp_path / "own.wav"
    assert len(found) == len(set(found)) >= 3
    assert not [path for path in found if path.stem == "Noise"]


def test_recordings_need_voters(corpus: Path, network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate_command, "REFERENCES", ("WORLD dio",))
    monkeypatch.setattr(evaluate_command, "TINY", "WORLD harvest")
    done = run("--corpus", corpus, "--model", network, "--quick", "--part", "recordings")
    assert isinstance(done.exception, ParameterError)
    assert "majority" in str(done.exception)


def test_recording_too_short_to_judge_is_refused(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "short.wav", np.zeros(1000, dtype=np.float32), 16000)
    with pytest.raises(AudioFileError, match="half a second"):
        evaluation.read_recording(tmp_path / "short.wav")


def test_recording_is_labelled_by_those_that_agree(tmp_path: Path) -> None:
    import soundfile

    voice: FloatArray = clip("a", "ada", f0_hz=180.0).audio
    soundfile.write(tmp_path / "someone.wav", voice, 16000)
    voters = [(World("dio"), 0.5), (World("harvest"), 0.5), (World("dio"), 0.6)]
    labelled = evaluation.label_recording(tmp_path / "someone.wav", voters)
    assert (labelled.name, labelled.kind, len(labelled.f0_hz)) == ("someone", "human", len(voice) // 160 + 1)
    assert labelled.known.mean() > 0.9
    np.testing.assert_allclose(labelled.f0_hz[60:110], 180.0, rtol=0.005)
    assert (labelled.f0_hz[:40] == 0).all()
