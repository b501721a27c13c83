"""What the options of `altervox convert` do, and what it says besides the result."""

from __future__ import annotations

import gc
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from altervox.kernels.level import soft_limit
from altervox.models.library import load_voice
from altervox.models.voice import VoiceParams
from altervox.realtime.files import LIVE, OFFLINE, convert_stream
from altervox.tools.convert import batch
from altervox.tools.convert import command as convert_command
from altervox.tools.convert.plan import Job
from cli_runner import altervox, speech

RATE = 16000


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALTERVOX_HOME", str(tmp_path / "library"))
    soundfile.write("talk.wav", speech(1.0), RATE)
    return Path("talk.wav")


@pytest.mark.parametrize(("quality", "method"), [("live", "rmvpe-small"), ("offline", "auto")])
def test_options_reach_the_voice(quality: str, method: str, talk: Path) -> None:
    options = ["--pitch", 4, "--formant", -2.5, "--f0-method", method, "--seed", 5]
    options += ["--quality", quality] if quality == "offline" else []
    assert altervox("convert", talk, "-o", "out.wav", "--voice", "giant", *options).code == 0
    params = VoiceParams(pitch_semitones=4, formant_semitones=-2.5, f0_method=method, seed=5)
    config = LIVE if quality == "live" else OFFLINE
    stream = convert_stream(load_voice("giant"), [soundfile.read(talk)[0]], RATE, params, config)
    wanted = soft_limit(np.concatenate(list(stream)))
    np.testing.assert_allclose(soundfile.read("out.wav")[0], wanted, atol=0.6 / 32768)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--voice robot --index-rate 0.5", "--index-rate has no effect on the voice robot"),
        ("--voice robot --speaker 2 --protect 0.1", "--protect, --speaker have no effect on the voice robot"),
        ("--voice off --pitch 3", "--pitch has no effect on the voice off"),
        ("--voice off --gate-db -40", "--gate-db has no effect on the voice off"),
        ("--voice robot --pitch 3", None),
        ("--voice off", None),
    ],
)
def test_an_option_without_effect_is_mentioned(options: str, said: str | None, talk: Path) -> None:
    done = altervox("convert", talk, *options.split())
    assert done.code == 0
    assert done.complaints == ([f"altervox: {said}"] if said else [])


def test_loud_sound_is_bent_and_not_clipped(talk: Path) -> None:
    soundfile.write(talk, 2.5 * speech(1.0) / np.abs(speech(1.0)).max(), RATE, "FLOAT")
    assert altervox("convert", talk, "-o", "out.wav", "--voice", "robot").code == 0
    result = soundfile.read("out.wav")[0]
    assert 0.9 < np.abs(result).max() <= 1.0
    assert len(np.unique(result[np.abs(result) > 0.9])) > 20, "clipped sound has one value only"


def test_results_of_the_last_run_are_no_input(talk: Path) -> None:
    for _ in range(2):
        assert altervox("convert", ".", "-o", "results", "--voice", "off").code == 0
    assert sorted(p.as_posix() for p in Path().rglob("*.wav")) == ["results/talk.wav", "talk.wav"]


def test_one_line_says_what_was_done(talk: Path) -> None:
    done = altervox("convert", talk, "--voice", "off", "-o", "out.flac")
    assert done.out == "out.flac  1.0 s\n"  # too short for a speed


def test_a_traceback_is_shown_on_demand(talk: Path) -> None:
    assert "Traceback" not in altervox("convert", "missing.wav").err
    assert "Traceback" in altervox("-v", "convert", "missing.wav").err
    assert "Traceback" in altervox("-v", "convert", talk, "--voice", "womn").err


def test_an_internal_error_is_one_line(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(convert_command, "convert_all", broken)
    done = altervox("convert", talk, "--voice", "off")
    assert done.code == 1
    assert done.err == (
        "altervox: internal error, please report it: ZeroDivisionError: division by zero (altervox -v shows where)\n"
    )


def test_an_internal_error_of_one_file_leaves_the_others(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk.with_name("a.wav").write_bytes(talk.read_bytes())
    talk.with_name("z.wav").write_bytes(talk.read_bytes())
    convert_file = batch.convert_file

    def broken(job: Job, *others: Any) -> batch.Conversion:
        if job.source == talk:
            raise ZeroDivisionError("division by zero")
        return convert_file(job, *others)

    monkeypatch.setattr(batch, "convert_file", broken)
    done = altervox("-v", "convert", "a.wav", talk, "z.wav", "-o", "out/", "--voice", "off")
    assert done.code == 1
    assert done.complaints[1:] == [  # what comes first is where it happened
        "altervox: talk.wav: internal error, please report it: ZeroDivisionError: division by zero (altervox -v shows "
        "where)",
        "altervox: 1 of 3 files failed",
    ]
    assert "in broken" in done.err
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.wav", "z.wav"]


@pytest.mark.parametrize("is_stopped", [True, False])
def test_what_a_stop_leaves_half_made_is_not_reported(is_stopped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a compiler's object that had no time to get its attributes, and is deleted when all has unwound."""

    class HalfMade:
        def __del__(self) -> None:
            raise AttributeError("it was not finished")

    reported: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    object_left = HalfMade()
    if is_stopped:
        with pytest.raises(KeyboardInterrupt), convert_command.terminable():
            signal.raise_signal(signal.SIGINT)
    else:
        with convert_command.terminable():
            pass
    del object_left
    gc.collect()
    assert len(reported) == (not is_stopped)
