"""`altervox convert` with an RVC voice: the streaming engine, long windows, and which options go."""

from __future__ import annotations

import re
from pathlib import Path

import made_up_voice
import numpy as np
import pytest
import soundfile
import torch
from altervox.kernels.level import soft_limit
from altervox.models.library import load_voice
from altervox.models.voice import F0_METHODS, VoiceParams
from altervox.realtime import StreamConfig
from altervox.realtime.files import convert_stream
from cli_runner import altervox, envelope, lag, speech

RATE = 16000


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("library")
    made_up_voice.write_base_models(home / "base")
    torch.save(made_up_voice.payload(), home / "alice.pth")
    return home


@pytest.fixture
def place(tmp_path: Path, library: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALTERVOX_HOME", str(library))
    soundfile.write("talk.wav", speech(1.2)[: 19 * RATE // 16 + 7], RATE, "FLOAT")
    return tmp_path


@pytest.mark.parametrize(
    "options",
    ["", "--quality offline"],
)
def test_the_result_lasts_as_long_and_is_in_step(options: str, place: Path, library: Path) -> None:
    voice = library / "alice.pth"
    done = altervox("convert", "talk.wav", "-o", "out.wav", "--voice", voice, "--rms-mix", 0, *options.split())
    assert (done.code, done.err) == (0, "")
    before, after = soundfile.read("talk.wav")[0], soundfile.read("out.wav")
    assert after[1] == made_up_voice.RATE
    assert len(after[0]) == round(len(before) * 2.5)
    assert abs(lag(envelope(after[0], after[1]), envelope(before, RATE))) <= 10  # milliseconds


@pytest.mark.parametrize(
    ("options", "config"),
    [
        ("", StreamConfig(block_ms=500)),
        ("--block-ms 240 --lookahead-ms 100 --context-ms 400", StreamConfig(48000, 240, 400, 100)),
    ],
)
def test_a_file_is_what_a_live_listener_hears(options: str, config: StreamConfig, place: Path, library: Path) -> None:
    path = library / "alice.pth"
    altervox("convert", "talk.wav", "-o", "out.wav", "--voice", path, "--pitch", 3, *options.split())
    voice = load_voice(str(path), "cpu")
    blocks = convert_stream(voice, [soundfile.read("talk.wav")[0]], RATE, VoiceParams(pitch_semitones=3), config)
    np.testing.assert_allclose(soundfile.read("out.wav")[0], soft_limit(np.concatenate(list(blocks))), atol=1e-6)


@pytest.mark.parametrize(
    ("voice", "options", "said"),
    [
        ("alice.pth", "--f0-method harvest", "'harvest' is not one of 'auto', 'rmvpe-small', 'rmvpe'"),
        ("alice.pth", "--block-ms 21000", "block_ms is 21000; it must be a multiple of 20 from 20 to 20000"),
        ("alice.pth", "--block-ms 30", "block_ms is 30; it must be a multiple of 20"),
        ("robot", "--lookahead-ms 20", "lookahead_ms is 20"),
        ("alice.pth", "--speaker 3", "speaker is 3; alice has speakers 0 to 2"),
    ],
)
def test_options_that_do_not_go_together(voice: str, options: str, said: str, place: Path, library: Path) -> None:
    path = library / voice if voice.endswith(".pth") else voice
    done = altervox("convert", "talk.wav", "-o", "out.wav", "--voice", path, *options.split())
    assert done.code == 2
    assert "Traceback" not in done.err
    assert said in done.err.splitlines()[-1]
    assert not Path("out.wav").exists()


@pytest.mark.parametrize(
    ("voice", "options", "said"),
    [
        ("robot", "--block-ms 100 --context-ms 400", "--context-ms has no effect on the voice robot"),
        ("off", "--block-ms 100", "--block-ms has no effect on the voice off"),
        ("alice.pth", "--index-rate 0.5", "--index-rate has no effect on the voice alice"),
    ],
)
def test_options_without_effect_are_mentioned(voice: str, options: str, said: str, place: Path, library: Path) -> None:
    path = library / voice if voice.endswith(".pth") else voice
    done = altervox("convert", "talk.wav", "-o", "out.wav", "--voice", path, *options.split())
    assert done.code == 0
    assert done.complaints == [f"altervox: {said}"]


@pytest.mark.parametrize("voice", ["alice.pth", "robot"])
@pytest.mark.parametrize(
    ("quality", "method"),
    [("offline", "auto"), ("offline", "rmvpe"), *(("live", name) for name in F0_METHODS)],
)
def test_every_way_to_find_pitch_works(quality: str, method: str, voice: str, place: Path, library: Path) -> None:
    path = library / voice if voice.endswith(".pth") else voice
    options = ["--voice", path, "--quality", quality, "--f0-method", method]
    done = altervox("convert", "talk.wav", "-o", "out.wav", *options)
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("voice", ["alice.pth", "robot"])
def test_the_full_pitch_network_is_heard(voice: str, place: Path, library: Path) -> None:
    path = library / voice if voice.endswith(".pth") else voice
    for method in ("auto", "rmvpe-small", "rmvpe"):
        done = altervox("convert", "talk.wav", "-o", f"{method}.wav", "--voice", path, "--f0-method", method)
        assert done.code == 0
    auto, small, full = (soundfile.read(f"{method}.wav")[0] for method in ("auto", "rmvpe-small", "rmvpe"))
    np.testing.assert_array_equal(auto, small)
    assert np.abs(full - small).max() > 1e-3


def test_without_the_full_pitch_network_only_what_needs_it_fails(
    place: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place / "home" / "base").mkdir(parents=True)
    (place / "home" / "base" / "hubert_base.pt").hardlink_to(library / "base" / "hubert_base.pt")
    monkeypatch.setenv("ALTERVOX_HOME", str(place / "home"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    command = ["convert", "talk.wav", "-o", "out.wav", "--voice", library / "alice.pth"]
    done = altervox(*command, "--f0-method", "rmvpe")
    assert done.code == 1
    assert re.search(r"rmvpe\.pt .*; or leave --f0-method at auto", done.complaints[-1])
    assert not Path("out.wav").exists()
    for quality in ("live", "offline"):
        done = altervox(*command, "--quality", quality)
        assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize("options", ["", "--quality offline"])
def test_a_damaged_voice_leaves_no_result(options: str, place: Path) -> None:
    damaged = made_up_voice.payload()
    damaged["weight"]["dec.conv_post.weight"][:] = float("nan")
    torch.save(damaged, "bad.pth")
    done = altervox("convert", "talk.wav", "-o", "out.wav", "--voice", "bad.pth", *options.split())
    assert done.code == 1
    assert "the voice bad rendered NaN or infinite samples" in done.complaints[-1]
    assert not Path("out.wav").exists()
