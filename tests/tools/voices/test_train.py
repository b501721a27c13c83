"""`altervox voices train`: from recordings to a voice, stopped at any point, killed, refused, on a full disk."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import made_up_neural
import own_recordings
import pytest
import soundfile
from altervox.models.neural.card import read_card
from altervox.tools.export.speech import RECORDING
from altervox.tools.voices import base, material, train
from altervox.tools.voices.install import only_one
from altervox.tools.voices.tuning import TuningConfig
from cli_runner import FEMALE, MALE, Outcome, altervox, full_disk

CONFIG = TuningConfig(steps=6, size=2, frames=50, warm_up=2, keep_every_s=0.0)
ENDLESS = TuningConfig(steps=100_000, size=2, frames=50, warm_up=2, keep_every_s=0.0)
METRICS = {"envelope_db", "f0_correlation", "voicing_agreement", "level_db", "held_out_s", "steps"}
CONSENT = ("--consent", "the reader agreed")


@pytest.fixture(scope="module")
def base_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_up_neural.write(tmp_path_factory.mktemp("base") / "base.safetensors")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recordings")
    own_recordings.write(folder / "one.flac", own_recordings.spoken(19.0))
    (folder / "read me.txt").write_text("what to read", "utf-8")
    return folder


@pytest.fixture(autouse=True)
def library(tmp_path: Path, base_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "library"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(base, "PATH", base_file)
    monkeypatch.setattr(train, "CONFIG", CONFIG)
    monkeypatch.setattr(train, "_FEWEST_STEPS", 1)
    monkeypatch.setattr(material, "_MOST_VIEWS", 3)
    return tmp_path / "library"


def files(library: Path) -> list[str]:
    found = [path for path in library.rglob("*") if path.is_file() and path.suffix != ".lock" and path.name != ".lock"]
    return sorted(str(path.relative_to(library)) for path in found)


def trained(*words: object) -> Outcome:
    return altervox("voices", "train", "anna", *words, "--force")


def test_a_voice_of_ones_own(recordings: Path, library: Path, tmp_path: Path) -> None:
    done = trained(recordings, *CONSENT)
    assert (done.code, done.out.splitlines()[0][:9]) == (0, "made anna"), done.err
    assert "read me.txt" in done.err
    assert "--voice anna" in done.out
    assert files(library) == [
        "voices/anna/sample.flac",
        "voices/anna/voice.json",
        "voices/anna/voice.safetensors",
    ]

    row = altervox("voices", "show", "anna", "--json").json
    assert (row["name"], row["kind"], row["register"]) == ("anna", "neural", "lower")
    assert "the reader agreed" in row["consent"]
    assert "6 steps" in row["trained"]
    assert row["attribution"] == "a random generator", "as the base voice asks"
    assert 80 < row["f0_hz"] < 160
    assert set(row["metrics"]) == METRICS
    assert 0 < row["metrics"]["envelope_db"] < 60
    assert "one.flac" not in str(row), "names of files are nobody's business"
    shown = altervox("voices", "show", "anna").out
    assert re.search(r"^consent +\d{4}-\d\d-\d\d: the reader agreed", shown, re.MULTILINE)
    assert re.search(r"^metrics +envelope db ", shown, re.MULTILINE)

    sample = altervox("voices", "show", "anna", "--sample", "anna.wav")
    assert sample.code == 0, sample.err
    assert soundfile.info(tmp_path / "anna.wav").duration > 2.0
    other = altervox("voices", "show", "anna", "--sample", "male.flac", "--from", MALE, "--json").json
    assert other["sample"] == "male.flac"
    assert soundfile.info(tmp_path / "male.flac").duration == pytest.approx(5.3, abs=0.01)

    shared = tmp_path / "elsewhere" / "voice.safetensors"
    shared.parent.mkdir()
    shutil.copyfile(library / "voices" / "anna" / "voice.safetensors", shared)
    assert "there is a voice 'anna' already" in altervox("voices", "add", shared).complaints[0]

    again = trained(recordings, *CONSENT)
    assert again.complaints == ["altervox: there is a voice 'anna' already; remove it first or give another name"]
    weights = weights_of(library)
    altervox("voices", "remove", "anna")
    assert trained(recordings, *CONSENT, "--json").json["card"]["name"] == "anna"
    assert weights_of(library) == weights, "the same seed gives the same voice"


def weights_of(library: Path) -> bytes:
    """What stands behind the header of the voice's file, which names the day."""
    content = (library / "voices" / "anna" / "voice.safetensors").read_bytes()
    return content[int.from_bytes(content[:8], "little") + 8 :]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "there is no terminal to ask"),
        (("--consent", " "), "say who agrees"),
        (("nowhere.wav", *CONSENT), "nowhere.wav does not exist"),
        (("empty.wav", *CONSENT), "empty.wav is empty"),
        (("short.wav", *CONSENT), "of speech in 0:05; a voice takes at least 1:30"),
        (("telephone.wav", *CONSENT), "telephone.wav has a sample rate of 8000 Hz"),
    ],
)
def test_what_is_refused_is_said_in_one_line(
    words: tuple[str, ...], said: str, recordings: Path, library: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.wav").touch()
    own_recordings.write(tmp_path / "short.wav", own_recordings.spoken(5.0))
    own_recordings.write(tmp_path / "telephone.wav", own_recordings.spoken(19.0, rate=8000), 8000)
    inputs = words if words and words[0].endswith(".wav") else (str(recordings), *words)
    done = trained(*inputs)
    assert done.code in (1, 2)
    assert said in done.complaints[-1]
    assert "internal error" not in done.err
    assert not files(library)


def test_unfit_recordings_are_refused_unless_forced(recordings: Path, library: Path) -> None:
    done = altervox("voices", "train", "anna", recordings, *CONSENT)
    assert done.code == 1
    assert "a voice takes at least 1:30" in done.complaints[-1]
    assert "--force goes on all the same" in done.complaints[-1]
    assert not files(library)


@pytest.mark.parametrize(("name", "said"), [("woman", "built-in voice"), ("a/b", "cannot be a voice's name")])
def test_a_name_that_cannot_be_used(name: str, said: str, recordings: Path) -> None:
    done = altervox("voices", "train", name, recordings, *CONSENT)
    assert (done.code, len(done.complaints)) == (1, 1)
    assert said in done.complaints[0]
    assert "--name" not in done.complaints[0]


@pytest.mark.linux
def test_a_full_disk_is_noticed_before_time_is_spent(recordings: Path, library: Path) -> None:
    with full_disk(1_000_000):
        done = trained(recordings, *CONSENT)
    assert (done.code, len(done.complaints)) == (1, 1)
    assert re.search(r"training cannot be written: .+; training needs 40 MB", done.complaints[0])
    assert not files(library)


@pytest.fixture
def when_training(library: Path) -> Iterator[Callable[[Callable[[], None]], None]]:
    """Calls something, once, as soon as a state is kept."""
    threads = []
    is_over = threading.Event()

    def call(what: Callable[[], None]) -> None:
        def wait() -> None:
            state = library / "training" / "anna.state"
            while not is_over.is_set() and not state.exists():
                time.sleep(0.01)
            if not is_over.is_set():
                what()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()

    yield call
    is_over.set()
    for thread in threads:
        thread.join()


def steps_of(outcome: Outcome) -> int:
    found = re.search(r"stopped after (\d+) of", outcome.out)
    assert found, outcome
    return int(found.group(1))


@pytest.mark.linux
def test_a_stop_leaves_a_usable_voice_and_the_same_command_goes_on(
    recordings: Path,
    library: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when_training: Callable[[Callable[[], None]], None],
) -> None:
    monkeypatch.setattr(train, "CONFIG", ENDLESS)
    when_training(lambda: os.kill(os.getpid(), signal.SIGINT))
    stopped = trained(recordings, *CONSENT)
    assert stopped.code == 0, stopped.err
    assert "stopping" in stopped.err
    assert "stopped after" in read_card(library / "voices" / "anna" / "voice.safetensors").trained
    assert altervox("convert", MALE, "-o", "out.wav", "--voice", "anna").code == 0
    assert "training/anna.state" in files(library)

    further = trained(recordings, *CONSENT, "--minutes", "0.01")
    assert further.code == 0, further.err
    assert f"going on from step {steps_of(stopped)}" in further.err
    assert steps_of(further) > steps_of(stopped)
    assert "training/anna.state" in files(library), "time was over before all steps were done"

    voice = weights_of(library)
    own_recordings.write(tmp_path / "other.flac", own_recordings.spoken(19.0, FEMALE))
    other = trained("other.flac", *CONSENT)
    assert other.code == 1
    assert "anna is there already, stopped while it was made of other recordings" in other.complaints[-1]
    assert weights_of(library) == voice

    monkeypatch.setattr(train, "_FEWEST_STEPS", 10_000)
    short = trained(recordings, *CONSENT, "--minutes", "0.01")
    assert (short.code, weights_of(library) == voice) == (1, True)
    assert re.search(r"0.01 min were over after \d+ of 100000 steps, too few for a voice", short.complaints[-1])

    altervox("voices", "remove", "anna")
    assert files(library) == []


def test_what_is_learnt_until_time_is_over_is_kept(
    recordings: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CONFIG", replace(ENDLESS, keep_every_s=1e9))
    done = trained(recordings, *CONSENT, "--minutes", "0.01")
    assert "the same command goes on from there" in done.out
    again = trained(recordings, *CONSENT, "--minutes", "0.01")
    assert f"going on from step {steps_of(done)}" in again.err


@pytest.mark.linux
def test_a_disk_that_fills_up_loses_nothing(
    recordings: Path,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
    when_training: Callable[[Callable[[], None]], None],
) -> None:
    monkeypatch.setattr(train, "CONFIG", ENDLESS)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill_and_stop() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        os.kill(os.getpid(), signal.SIGINT)

    when_training(fill_and_stop)
    try:
        done = trained(recordings, *CONSENT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.code == 1
    assert re.search(r"cannot be written: .+; what has been learnt is kept", done.complaints[-1])
    assert files(library) == ["training/anna.state"]


@pytest.mark.linux
def test_a_kill_leaves_nothing_half_installed_and_the_state(
    recordings: Path, library: Path, base_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "CONFIG", ENDLESS)
    code = (
        "import sys; from pathlib import Path; from altervox.tools.voices import base, material, train, tuning\n"
        f"base.PATH = Path({str(base_file)!r}); material._MOST_VIEWS = 3\n"
        f"train.CONFIG = tuning.{ENDLESS!r}\n"
        "from altervox.tools.cli.main import main; main()"
    )
    command = [sys.executable, "-c", code, "voices", "train", "anna", str(recordings), *CONSENT, "--force"]
    state = library / "training" / "anna.state"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        for _ in range(12000):
            if state.exists() or process.poll() is not None:
                break
            time.sleep(0.01)
        process.kill()
        assert process.stderr is not None
        err = process.stderr.read().decode()
    assert state.exists(), err
    assert not (library / "voices").exists()
    done = trained(recordings, *CONSENT, "--minutes", "0.01")
    assert done.code == 0, done.err
    assert steps_of(done) > 1
    assert [name for name in files(library) if name.startswith("training")] == ["training/anna.state"]


def test_without_what_training_begins_with(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "PATH", Path("nowhere.safetensors"))
    done = trained(recordings, *CONSENT)
    assert (done.code, len(done.complaints)) == (1, 1)
    assert "no voice can be trained" in done.complaints[0]


def test_a_sample_says_what_ships_or_what_is_given() -> None:
    for source, expected in ([], RECORDING), (["--from", MALE], MALE):
        assert altervox("voices", "show", "woman", "--sample", "out.wav", *source).code == 0
        assert soundfile.info("out.wav").duration == pytest.approx(soundfile.info(expected).duration, abs=0.001)


def test_a_sample_never_replaces_a_recording(tmp_path: Path) -> None:
    shutil.copyfile(MALE, "mine.wav")
    before = Path("mine.wav").read_bytes()
    done = altervox("voices", "show", "woman", "--sample", "mine.wav", "--from", tmp_path / "mine.wav")
    assert (done.code, len(done.complaints)) == (2, 1)
    assert "is the input" in done.complaints[0]
    assert Path("mine.wav").read_bytes() == before
    alone = altervox("voices", "show", "woman", "--from", "mine.wav")
    assert alone.complaints == [
        "altervox: --from names a recording for --sample: say by --sample where the result goes"
    ]


def test_only_one_trains_a_voice(recordings: Path, library: Path) -> None:
    with only_one(library / "training" / "anna.state"):
        done = trained(recordings, *CONSENT)
    assert done.complaints == ["altervox: another altervox is training anna already; wait for it, or give another name"]
