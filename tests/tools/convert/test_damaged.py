"""Reading what is damaged, cut off or does not know its own length: as far as it goes, and the rest is named."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import AudioFileError
from altervox.tools.convert.reader import open_audio
from cli_runner import read_audio, speech, write_ffmpeg

RATE = 16000


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    return speech(2.5)


def test_flac_of_unknown_length(talk: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, talk, RATE)
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)  # what an encoder writes into a pipe
    path.write_bytes(content)
    samples, source = read_audio(path)
    assert source.expected_frames is None
    assert len(samples) == len(talk)
    assert source.warnings == []


@pytest.mark.parametrize("size", [b"\xff\xff\xff\xff", b"\x00\xf0\xff\x7f"])
def test_wav_from_a_pipe(size: bytes, talk: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, talk, RATE)
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = size
    path.write_bytes(content)
    samples, source = read_audio(path)
    assert len(samples) == len(talk)
    assert source.warnings == []


@pytest.mark.parametrize("form", ["wav", "flac", "mp3", "aiff", "caf", "m4a"])
def test_a_file_cut_short_is_read_as_far_as_it_goes(
    form: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    talk = speech(10.0)
    path = tmp_path / f"x.{form}"
    if form == "m4a":
        write_ffmpeg(path, talk, RATE, "aac", options={"movflags": "faststart"})
    else:
        soundfile.write(path, talk, RATE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    with caplog.at_level(logging.WARNING):
        samples, source = read_audio(path)
    assert 0.6 * len(talk) < len(samples) < 0.9 * len(talk)
    np.testing.assert_allclose(samples[:RATE], talk[:RATE], atol=0.1)
    missing = (len(talk) - len(samples)) / RATE
    assert any(f"cut short: {missing:.1f} s" in w for w in source.warnings), source.warnings
    assert [r.getMessage() for r in caplog.records] == [f"{path}: {w}" for w in source.warnings]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("suffix", ["webm", "mkv"])
def test_half_of_a_matroska_file(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    write_ffmpeg(path, speech(10.0, 48000), 48000, "libopus", video=suffix == "mkv")
    assert read_audio(path)[1].warnings == []
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    samples, source = read_audio(path)
    (said,) = source.warnings
    found = re.fullmatch(r"it is cut short: (\d+\.\d) s of what its header announces are missing", said)
    assert found
    assert float(found[1]) == pytest.approx(10.0 - len(samples) / 48000, abs=0.1)
    at = content.index(b"\x18\x53\x80\x67") + 4
    for size in (b"\x01" + b"\xff" * 7, b"\x01" + (len(content) // 2 - at - 8).to_bytes(7, "big")):
        path.write_bytes(content[:at] + size + content[at + 8 : len(content) // 2])
        assert read_audio(path)[1].warnings == []  # of unknown size, and whole


@pytest.mark.parametrize("suffix", ["avi", "wav"])
def test_half_of_an_avi_or_of_an_mp3_within_wav(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    write_ffmpeg(path, speech(10.0), RATE, "libmp3lame", video=suffix == "avi")
    assert read_audio(path)[1].warnings == []
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert "it is cut short: 50% of the bytes that its header announces are missing" in read_audio(path)[1].warnings
    path.write_bytes(content[:4] + bytes(4) + content[8 : len(content) // 2])  # a recording that was never closed
    assert not any("cut short" in what for what in read_audio(path)[1].warnings)


def test_a_matroska_file_whose_picture_goes_on_for_longer(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    write_ffmpeg(path, speech(0.2), RATE, "aac", video=True)  # the picture lasts half a second
    assert read_audio(path)[1].warnings == []


def test_a_length_guessed_from_the_bit_rate_is_not_missed(tmp_path: Path) -> None:
    """By its first frames this MP3 would last eleven seconds; it does not say how long it is."""
    content = b""
    for bit_rate in (32000, 320000):
        path = tmp_path / f"{bit_rate}.mp3"
        with av.open(str(path), "w", options={"write_xing": "0", "id3v2_version": "0"}) as container:
            stream: Any = container.add_stream("libmp3lame", rate=48000, layout="mono")
            stream.bit_rate = bit_rate
            frame = av.AudioFrame.from_ndarray(speech(1, 48000).astype(np.float32)[None], "fltp", "mono")
            frame.sample_rate = 48000
            for part in av.AudioResampler("fltp", "mono", 48000, 1152).resample(frame):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        content += path.read_bytes()
    path = tmp_path / "x.mp3"
    path.write_bytes(content)
    samples, source = read_audio(path)
    assert len(samples) == pytest.approx(2 * 48000, abs=4 * 1152)
    assert source.warnings == []


@pytest.mark.parametrize("suffix", ["mp3", "wav"])
def test_an_mp3_damaged_in_the_middle(suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    talk = speech(5.0)
    path = write_ffmpeg(tmp_path / f"x.{suffix}", talk, RATE, "libmp3lame")
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 2000] = np.random.default_rng(0).bytes(2000)
    path.write_bytes(content)
    samples, source = read_audio(path)
    assert len(samples) > 0.8 * len(talk)
    assert source.warnings
    assert capfd.readouterr().err == ""


def test_an_mp3_within_wav_that_ends_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libsndfile's decoder would speak up when such a file is opened."""
    path = write_ffmpeg(tmp_path / "x.wav", speech(0.4), RATE, "libmp3lame")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"data") + 60])
    assert "cut short" in read_audio(path)[1].warnings[0]
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("share", [0.1, 0.4, 0.41, 0.42, 0.43, 0.75])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_with_one_bad_byte(share: float, channels: int, tmp_path: Path) -> None:
    talk = np.round(speech(4.0, 48000) * 2**15) / 2**15
    path = tmp_path / "x.flac"
    soundfile.write(path, np.stack([talk] * channels, 1), 48000)
    content = bytearray(path.read_bytes())
    content[int(len(content) * share)] ^= 0xFF
    path.write_bytes(content)
    samples, source = read_audio(path)
    (said,) = source.warnings
    assert re.fullmatch(r"it is damaged after \d\.\d s \(.*\); silence is put for what is lost", said)
    assert len(samples) == len(talk)
    wrong = np.flatnonzero(samples != talk)
    assert 0 < len(wrong) <= 2 * 4096
    assert not samples[wrong].any()


def test_an_mp4_without_its_index(talk: np.ndarray, tmp_path: Path) -> None:
    path = write_ffmpeg(tmp_path / "x.m4a", talk, RATE, "aac")
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioFileError, match=r"x\.m4a is an MP4 file without its index"):
        read_audio(path)


def test_a_file_that_changes_before_it_is_read_is_named(talk: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, talk, RATE)
    with open_audio(path) as source:
        path.write_bytes(bytes(path.stat().st_size))
        with pytest.raises(AudioFileError, match="holds no audio"):
            list(source.blocks())
    assert "cannot be read further" in source.warnings[0]
