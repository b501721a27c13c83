"""RVC's own loop over a file, as its command does it."""

from __future__ import annotations

from pathlib import Path

import made_up_voice
import pytest
import soundfile
import torch
from cli_runner import Outcome, altervox, altervox_process, envelope, lag, speech

RATE = 16000


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("library")
    made_up_voice.write_base_models(home / "base")
    torch.save(made_up_voice.payload(), home / "alice.pth")
    soundfile.write(home / "talk.wav", speech(1.2)[: 19 * RATE // 16 + 7], RATE, "FLOAT")
    return home


MODULE = "altervox.tools.bench.reference"


def reference(place: Path, *arguments: object, **environment: str) -> Outcome:
    (place / "out.wav").unlink(missing_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for name, value in {"ALTERVOX_HOME": str(place), **environment}.items():
            patch.setenv(name, value)
        return altervox("talk.wav", "out.wav", *arguments, module=MODULE)


def test_the_result_lasts_as_long_and_is_in_step(place: Path) -> None:
    options = ("--voice", "alice.pth", "--rms-mix", 0, "--block-ms", 100, "--context-ms", 400)
    home = {"ALTERVOX_HOME": str(place)}
    done = altervox_process("talk.wav", "out.wav", *options, module=MODULE, cwd=place, env=home)
    assert (done.code, done.err) == (0, "")
    (before, _), (after, rate) = soundfile.read(place / "talk.wav"), soundfile.read(place / "out.wav")
    assert rate == made_up_voice.RATE
    assert len(after) == round(len(before) * 2.5)
    assert abs(lag(envelope(after, rate), envelope(before, RATE))) <= 10  # milliseconds


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--voice", "robot"], 1, "RVC's own loop is for RVC voices, and robot is none"),
        (["--voice", "alice.pth", "--block-ms", 33], 2, "block_ms is 33; it must be a multiple of 10"),
        (["--voice", "alice.pth", "--speaker", 3], 2, "speaker is 3; alice has speakers 0 to 2"),
    ],
)
def test_what_cannot_be_is_one_sentence(place: Path, options: list[object], code: int, said: str) -> None:
    done = reference(place, *options)
    assert done.code == code
    assert len(done.err.splitlines()) == 1
    assert said in done.err
    assert not (place / "out.wav").exists()


def test_without_the_pitch_network_it_says_where_to_put_one(place: Path, tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "hubert_base.pt").hardlink_to(place / "base" / "hubert_base.pt")
    done = reference(place, "--voice", "alice.pth", ALTERVOX_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert done.code == 1
    assert "rmvpe.pt" in done.err
    assert not (place / "out.wav").exists()


def test_a_damaged_voice_leaves_no_result(place: Path) -> None:
    damaged = made_up_voice.payload()
    damaged["weight"]["dec.conv_post.weight"][:] = float("nan")
    torch.save(damaged, place / "bad.pth")
    done = reference(place, "--voice", "bad.pth", "--context-ms", 400)
    assert done.code == 1
    assert "the voice bad rendered NaN or infinite samples" in done.complaints[-1]
    assert not (place / "out.wav").exists()
