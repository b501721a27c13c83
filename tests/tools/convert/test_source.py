"""Out of several channels one: their mean, or the loudest where they would cancel out; and what a file may claim."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import AudioFileError
from altervox.tools.convert import source as module
from altervox.tools.convert.reader import open_audio
from cli_runner import speech, write_ffmpeg

RATE = 16000
TALK = speech(3.0)
OTHER = np.roll(TALK[::-1], 5000)
NOISE = 0.02 * np.random.default_rng(0).standard_normal(len(TALK))
SILENCE = np.zeros(len(TALK))


def read(path: Path) -> tuple[np.ndarray, list[str]]:
    with open_audio(path) as source:
        return np.concatenate(list(source.blocks())), source.warnings


CANCELLING = {
    "inverted": ([TALK, -TALK], 0),
    "inverted and softer": ([-0.5 * TALK, TALK], 1),
    "inverted with noise": ([TALK + NOISE, -0.9 * TALK - NOISE[::-1]], 0),
    "inverted for the most part": ([TALK + 0.3 * OTHER, 0.3 * OTHER - TALK], None),
    "inverted for a while": ([TALK, np.where(np.arange(len(TALK)) < RATE, TALK, -TALK)], None),
    "two pairs": ([TALK, -TALK, 0.5 * OTHER, -0.5 * OTHER], 0),
    "a pair beside silence": ([SILENCE, TALK, -TALK, SILENCE, SILENCE, SILENCE], 1),
}
ADDING = {
    "same": [TALK, TALK],
    "one is silent": [TALK, SILENCE],
    "two speakers": [TALK, OTHER],
    "delayed": [TALK, np.roll(TALK, 50)],
    "silence": [SILENCE, SILENCE],
    "centre of six": [SILENCE, SILENCE, TALK, SILENCE, SILENCE, SILENCE],
}


@pytest.mark.parametrize("name", CANCELLING)
@pytest.mark.parametrize("form", ["wav", "mka"])
def test_channels_that_cancel_out(name: str, form: str, tmp_path: Path) -> None:
    channels, chosen = CANCELLING[name]
    path = tmp_path / f"x.{form}"
    if form == "wav":
        soundfile.write(path, np.stack(channels, 1), RATE, "DOUBLE")
    elif len(channels) == 2:
        write_ffmpeg(path, np.stack(channels), RATE, "pcm_f32le", layout="stereo")
    else:
        return
    samples, (said,) = read(path)
    assert "its channels cancel out" in said
    taken = next(i for i, c in enumerate(channels) if np.allclose(samples, c, atol=1e-6))
    assert f"channel {taken + 1} alone was taken" in said
    assert chosen in (taken, None)


@pytest.mark.parametrize("name", ADDING)
def test_channels_that_do_not(name: str, tmp_path: Path) -> None:
    channels = ADDING[name]
    soundfile.write(tmp_path / "x.wav", np.stack(channels, 1), RATE, "DOUBLE")
    samples, warnings = read(tmp_path / "x.wav")
    assert warnings == []
    np.testing.assert_allclose(samples, np.mean(channels, axis=0), atol=1e-15)


def test_a_damaged_stereo_file_is_complained_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_ffmpeg(tmp_path / "x.mp3", np.stack([TALK, -TALK]), RATE, "libmp3lame", layout="stereo")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    _, warnings = read(path)
    assert len(warnings) == len(set(warnings))
    assert [r.getMessage() for r in caplog.records] == [f"{path}: {w}" for w in warnings]


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_more_sound_than_a_file_of_its_size_may_hold(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST_S", 100.0)
    path = tmp_path / f"x.{form}"
    soundfile.write(path, np.zeros(RATE * 400), RATE)
    if form == "wav":
        assert len(read(path)[0]) == RATE * 400
        return
    with pytest.raises(AudioFileError, match=r"x\.\w+ holds more than 0\.\d h of sound, the limit for a file of its"):
        read(path)


@pytest.mark.parametrize(
    ("channels", "rate", "said"),
    [(1000, 48000, "claims 1000 channels; up to 256"), (1, 999, "rate of 999 Hz; 1000 to 768000 can be read")],
)
def test_what_a_small_file_may_claim(channels: int, rate: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros((10, channels)), rate)
    with pytest.raises(AudioFileError, match=said):
        read(path)
    claimed = path.read_bytes()
    soundfile.write(path, TALK[:10], RATE)
    path.write_bytes(path.read_bytes() + claimed)  # joined end to end
    with pytest.raises(AudioFileError, match=said):
        read(path)


@pytest.mark.parametrize("form", ["wav", "mka"])
def test_many_channels_come_in_small_blocks(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    if form == "wav":
        soundfile.write(path, np.zeros((40000, 256), np.int16), 192000)
    else:
        with av.open(str(path), "w") as container:  # ten samples, a hole, and ten more
            stream = container.add_stream("pcm_u8", rate=192000, layout="255C")
            for at in (0, 39990):
                packet = av.Packet(b"\x80" * 255 * 10)
                packet.stream, packet.pts, packet.dts, packet.time_base = stream, at, at, Fraction(1, 192000)
                container.mux(packet)
    with open_audio(path) as source:
        blocks = [block.shape for block in source.raw_blocks()]
    assert sum(n for n, _ in blocks) == pytest.approx(40000, abs=192)  # time stamps are in milliseconds
    assert max(n * c for n, c in blocks) <= 2**20
