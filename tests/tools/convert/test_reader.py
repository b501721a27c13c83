"""Reading: what is in a file comes out as mono, at its rate, in step, to the sample; and the rest is named."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import AudioFileError
from altervox.tools.convert.ffmpeg import _Converter, _gathered
from altervox.tools.convert.reader import open_audio
from cli_runner import lag, read_audio, speech, write_ffmpeg

RATE = 16000


@pytest.fixture(scope="module")
def talk() -> np.ndarray:
    return speech(2.5)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "w64", "au", "caf"])
@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_uncompressed_samples_are_exact(suffix: str, subtype: str, tmp_path: Path) -> None:
    if not soundfile.check_format({"aiff": "AIFF"}.get(suffix, suffix.upper()), subtype):
        with pytest.raises(ValueError, match="Invalid combination"):
            soundfile.SoundFile(tmp_path / f"x.{suffix}", "w", RATE, 1, subtype)
        return
    bits = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24}.get(subtype, 32)
    steps = np.random.default_rng(1).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), 40000)
    steps[:2] = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    path = tmp_path / f"x.{suffix}"
    wanted: np.ndarray
    if subtype in ("FLOAT", "DOUBLE"):
        wanted = np.random.default_rng(1).standard_normal(40000) * 3
        wanted = wanted.astype(np.float32).astype(np.float64) if subtype == "FLOAT" else wanted
        soundfile.write(path, wanted, RATE, subtype)
    else:
        wanted = steps * 2.0 ** (1 - bits)
        soundfile.write(path, (steps << (32 - bits)).astype(np.int32), RATE, subtype)
    samples, source = read_audio(path)
    np.testing.assert_array_equal(samples, wanted)
    assert source.subtype == subtype


@pytest.mark.parametrize("rate", [3000, 8000, 44100, 384000])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_any_rate(rate: int, suffix: str, tmp_path: Path) -> None:
    wanted = np.round(speech(0.7, 8000) * 32768) / 32768
    soundfile.write(tmp_path / f"x.{suffix}", wanted, rate)
    samples, source = read_audio(tmp_path / f"x.{suffix}")
    assert source.sample_rate == rate
    np.testing.assert_array_equal(samples, wanted)


# By how many samples a decoder may come late: the file does not say how much its encoder put before the sound.
UNTOLD_PRIMING = 1200
COMPRESSED = {
    "x.ogg": (None, "", 16000, 0),
    "x.mp3": (None, "", 44100, 0),
    "ffmpeg.mp3": ("libmp3lame", "", 16000, 0),
    "x.opus": ("libopus", "", 48000, 0),
    "x.m4a": ("aac", "", 44100, 0),
    "alac.m4a": ("alac", "", 16000, 0),
    "x.aac": ("aac", "", 16000, UNTOLD_PRIMING),
    "x.webm": ("libopus", "", 48000, 0),
    "x.mkv": ("libopus", "video", 48000, 0),
    "pcm.mkv": ("pcm_s16le", "", 16000, 0),
    "x.mp4": ("aac", "video", 16000, 0),
    "x.mov": ("pcm_s16le", "video", 16000, 0),
    "x.avi": ("libmp3lame", "video", 16000, UNTOLD_PRIMING),
    "x.3gp": ("aac", "", 16000, 0),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_sound_and_video_are_in_step(name: str, talk: np.ndarray, tmp_path: Path) -> None:
    codec, kind, rate, late = COMPRESSED[name]
    original = speech(2.5, rate)
    if codec is None:
        soundfile.write(tmp_path / name, original, rate)
    else:
        write_ffmpeg(tmp_path / name, original, rate, codec, video=kind == "video")
    samples, source = read_audio(tmp_path / name)
    assert source.sample_rate == rate
    assert 0 <= lag(samples, original) <= late
    if late == 0:
        assert len(samples) == len(original)
        assert source.expected_frames in (None, len(original))
        assert np.sqrt(np.mean((samples - original) ** 2)) < 0.35 * np.sqrt(np.mean(original**2))
    else:
        assert len(original) < len(samples) < len(original) + 4096


@pytest.mark.parametrize("form", ["wav", "webm", "m4a", "mkv"])
@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(form: str, channels: int, tmp_path: Path) -> None:
    time = np.arange(48000) / 48000
    tones = np.stack([0.5 * np.sin(2 * np.pi * 200 * (i + 1) * time) for i in range(channels)])
    path = tmp_path / f"x.{form}"
    if form == "wav":
        soundfile.write(path, tones.T, 48000, "FLOAT")
    else:
        codec = {"webm": "libopus", "m4a": "aac", "mkv": "pcm_s16le"}[form]
        write_ffmpeg(path, tones, 48000, codec, layout={2: "stereo", 6: "5.1"}[channels])
    samples, source = read_audio(path)
    assert source.channels == channels
    middle = slice(12000, 36000)
    amplitudes = [
        2 * abs(np.mean(samples[middle] * np.exp(2j * np.pi * 200 * (i + 1) * time[middle]))) for i in range(channels)
    ]
    # An LFE channel is not coded beyond some 120 Hz: it may be missing, but no tone may be louder than its share.
    heard = sorted(amplitudes)[1 if channels == 6 and form in ("webm", "m4a") else 0 :]
    np.testing.assert_allclose(heard, 0.5 / channels, rtol=0.05)


@pytest.mark.parametrize(("channels", "layout"), [(8, "7.1"), (16, "hexadecagonal"), (64, "64C")])
def test_many_channels_through_ffmpeg(channels: int, layout: str, tmp_path: Path) -> None:
    """PyAV ends the process where it is asked for the planes of eight channels or more."""
    levels = (1000 * np.arange(channels)).astype(np.int16) // 4
    packed = np.tile(levels, RATE)[None]
    path = tmp_path / "x.mkv"
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("pcm_s16le", rate=RATE, layout=layout)
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate = RATE
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with open_audio(path) as source:
        assert source.channels == channels
        samples = np.concatenate(list(source.raw_blocks()))
    np.testing.assert_array_equal(samples, np.tile(levels * 2.0**-15, (RATE, 1)))


def test_format_changes_on_the_way(tmp_path: Path) -> None:
    """Broadcasts go from stereo to mono and from one rate to another without notice."""
    parts = [
        write_ffmpeg(tmp_path / "1.aac", np.stack([speech(1, 48000)] * 2), 48000, "aac", layout="stereo"),
        write_ffmpeg(tmp_path / "2.aac", speech(1, 48000), 48000, "aac"),
        write_ffmpeg(tmp_path / "3.aac", speech(1, 24000), 24000, "aac"),
    ]
    path = tmp_path / "x.aac"
    path.write_bytes(b"".join(p.read_bytes() for p in parts))
    samples, source = read_audio(path)
    assert source.sample_rate == 48000
    assert len(samples) == pytest.approx(3 * 48000, abs=3 * 3 * 2048)
    for i in range(3):
        assert np.std(samples[48000 * i : 48000 * (i + 1)]) > 0.5 * np.std(speech(1, 48000))


@pytest.mark.parametrize("name", ["it's  \N{SNOWMAN} 'Алиса' 100%d.wav", "file:a.wav", "-.wav", "a#b?c=d&e.wav"])
@pytest.mark.parametrize("form", ["wav", "mp3", "m4a"])
def test_names_are_only_names(name: str, form: str, talk: np.ndarray, tmp_path: Path) -> None:
    """And the sort of file is known by what is in it: all of them end in .wav."""
    made = tmp_path / f"made.{form}"
    if form == "m4a":
        write_ffmpeg(made, talk, RATE, "aac")
    else:
        soundfile.write(made, talk, RATE)
    samples, source = read_audio(made.rename(tmp_path / name))
    assert len(samples) == len(talk)
    assert source.container == {"wav": "WAV", "mp3": "mp3"}.get(form, "mov,mp4,m4a,3gp,3g2,mj2")


@pytest.mark.parametrize("suffix", [".raw", ".mp3", ".vox", ".au", ".txt", ""])
def test_a_wav_by_another_name(suffix: str, talk: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"x{suffix}"
    soundfile.write(path, talk, RATE, "PCM_16", format="WAV")
    samples, _ = read_audio(path)
    np.testing.assert_allclose(samples, talk, atol=2.0**-15)


@pytest.mark.parametrize(
    "suffix", [".wav", ".mp3", ".flac", ".ogg", ".m4a", ".raw", ".vox", ".au", ".snd", ".txt", ".m3u8"]
)
@pytest.mark.parametrize("text", ["hello, this is a text\n" * 200, "#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/x.ts\n"])
def test_text_is_no_audio(suffix: str, text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_text(text)
    with pytest.raises(AudioFileError, match=r"not audio that altervox can read|has no sound"):
        read_audio(path)
    assert capfd.readouterr().err == ""


def test_a_playlist_opens_no_other_file(talk: np.ndarray, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.wav", talk, RATE)
    (tmp_path / "list.wav").write_text("ffconcat version 1.0\nfile '../secret.wav'\n")
    (tmp_path / "sub").mkdir()
    with pytest.raises(AudioFileError):
        read_audio((tmp_path / "list.wav").rename(tmp_path / "sub" / "list.wav"))


def test_a_video_without_sound_is_named(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "x.mp4"), "w") as container:
        picture = container.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), "uint8"))))
        container.mux(picture.encode(None))
    with pytest.raises(AudioFileError, match=r"x\.mp4 has no sound"):
        read_audio(tmp_path / "x.mp4")


def _in_unknown_codec(path: Path, track: int) -> None:
    """Rename the codec of a track of an MP4 file, and its parameters, to what FFmpeg does not know."""
    content = bytearray(path.read_bytes())
    at = 0
    for _ in range(track):
        at = content.index(b"stsd", at) + 4
    for name, other in ((b"mp4a", b"apac"), (b"esds", b"dapa")):
        at = content.index(name, at)
        content[at : at + 4] = other
    path.write_bytes(content)


@pytest.mark.parametrize("unknown", [1, 2])
def test_a_track_in_an_unknown_codec_is_passed_over(unknown: int, talk: np.ndarray, tmp_path: Path) -> None:
    """Phones write one beside AAC, for spatial sound."""
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        streams: list[Any] = [container.add_stream("aac", rate=RATE, layout="mono") for _ in range(2)]
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(talk.astype(np.float32)[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            for part in av.AudioResampler("fltp", "mono", RATE, 1024).resample(frame):
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
    _in_unknown_codec(path, unknown)
    samples, source = read_audio(path)
    assert len(samples) == pytest.approx(len(talk), abs=1024)
    assert source.warnings == []
    with pytest.raises(AudioFileError, match=r"x\.mp4 has no track 2: it has 1 audio track"), open_audio(path, 2):
        pass


def test_sound_in_an_unknown_codec_is_named(talk: np.ndarray, tmp_path: Path) -> None:
    path = write_ffmpeg(tmp_path / "x.m4a", talk, RATE, "aac")
    _in_unknown_codec(path, 1)
    with pytest.raises(AudioFileError, match=r"x\.m4a has its sound in a codec that altervox does not know"):
        read_audio(path)


def test_a_picture_that_begins_in_the_midst(tmp_path: Path) -> None:
    """As where a camera is switched on late: PyAV fails at the end of such a file."""
    talk = speech(10.0)
    path = write_ffmpeg(tmp_path / "x.flv", talk, RATE, "aac")
    content = path.read_bytes()
    at = 13  # of a tag: its kind, size and time stamp, then eleven bytes in all
    while (ms := int.from_bytes(content[at + 4 : at + 7], "big")) < 8000:
        at += 11 + int.from_bytes(content[at + 1 : at + 4], "big") + 4
    picture = b"\x12" + bytes(20)
    tag = b"\x09" + len(picture).to_bytes(3, "big") + ms.to_bytes(3, "big") + bytes(4) + picture
    path.write_bytes(content[:at] + tag + len(tag).to_bytes(4, "big") + content[at:])
    samples, source = read_audio(path)
    assert len(samples) == pytest.approx(len(talk), abs=4096)
    assert set(source.warnings) <= {"a track that begins in its midst was left out"}


@pytest.mark.parametrize("form", ["wav", "mp3", "m4a"])
def test_tags_in_an_old_encoding_do_no_harm(form: str, talk: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    codec = {"wav": "pcm_s16le", "mp3": "libmp3lame", "m4a": "aac"}[form]
    options = {"id3v2_version": "4"} if form == "mp3" else None
    write_ffmpeg(path, talk, RATE, codec, metadata={"title": "MARK_HERE"}, options=options)
    content = path.read_bytes()
    assert content.count(b"MARK_HERE") >= 1
    path.write_bytes(content.replace(b"MARK_HERE", b"Stra\xdfe \xe9\xff"))
    assert len(read_audio(path)[0]) == len(talk)


@pytest.mark.parametrize("form", ["wav", "webm"])
def test_sound_comes_in_blocks_of_about_a_second(form: str, tmp_path: Path) -> None:
    """Longer ones take memory, shorter ones take time."""
    path = tmp_path / f"x.{form}"
    if form == "wav":
        soundfile.write(path, np.zeros(48000 * 20), 48000)
    else:
        write_ffmpeg(path, np.zeros(48000 * 20), 48000, "libopus")
    with open_audio(path) as source:
        sizes = [len(block) for block in source.blocks()]
    assert sum(sizes) == 48000 * 20
    assert max(sizes) < 48000 * 1.5
    assert len(sizes) < 25


def test_tiny_packets_are_gathered_in_linear_time() -> None:
    class Block(np.ndarray):
        asked = 0

        def __len__(self) -> int:
            Block.asked += 1
            return super().__len__()

    count = 2000
    gathered = list(_gathered((np.ones((1, 2)).view(Block) for _ in range(count)), 1500))
    assert Block.asked <= 5 * count
    assert [block.shape for block in gathered] == [(1500, 2), (500, 2)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_no_number_is_found_and_repaired(bad: float, channels: int, tmp_path: Path) -> None:
    samples = np.full((4 * RATE, channels), 0.25)
    samples[3 * RATE + 4, 0] = samples[3 * RATE + 5, -1] = bad
    soundfile.write(tmp_path / "x.wav", samples, RATE, "FLOAT")
    with pytest.raises(AudioFileError, match=r"x\.wav .*first at 3\.000 s; --repair"):
        read_audio(tmp_path / "x.wav")
    repaired, source = read_audio(tmp_path / "x.wav", repair=True)
    assert list(np.flatnonzero(repaired != 0.25)) == [3 * RATE + 4, 3 * RATE + 5]
    assert not repaired[3 * RATE + 4 : 3 * RATE + 6].any()
    assert source.warnings == ["2 NaN or infinite samples were replaced with silence"]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything, so be someone else for a while."""
    if sys.platform == "win32" or os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_may_not_be_read(talk: np.ndarray, tmp_path: Path) -> None:
    if sys.platform == "win32":
        return  # there is no such mode
    path = tmp_path / "x.wav"
    soundfile.write(path, talk, RATE)
    path.chmod(0)
    with as_nobody(), pytest.raises(AudioFileError, match=r"x\.wav cannot be read: Permission denied"):
        read_audio(path)


def _wav_of_rate(path: Path, rate: int) -> None:
    soundfile.write(path, np.zeros(100), 8000)
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "is a folder"),
        (lambda p: p.write_bytes(b""), "is empty"),
        (lambda p: p.write_bytes(b"R"), "not audio that altervox can read"),
        (lambda p: p.write_bytes(b"RIFF\0\0\0\0WAVE"), "not audio that altervox can read|has no sound"),
        (lambda p: p.write_bytes(bytes(1000)), "not audio that altervox can read|has no sound"),
        (lambda p: soundfile.write(p, np.zeros(0), 8000), "holds no audio: it has 0 samples"),
        (lambda p: soundfile.write(p, np.zeros(0), 8000, format="AIFF"), "holds no audio: it has 0 samples"),
        (lambda p: _wav_of_rate(p, 2_000_000), "claims a rate of 2000000 Hz"),
        (lambda p: _wav_of_rate(p, 0), "rate|not audio|no sound"),
    ],
)
def test_what_cannot_be_read_is_named(make: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    make(path)
    with pytest.raises(AudioFileError, match=rf"x\.wav .*({message})"):
        read_audio(path)


def test_frames_that_ffmpeg_cannot_convert_are_left_out() -> None:
    converter = _Converter(RATE)
    frames = []
    for rate in (RATE, 0, RATE):
        frame = av.AudioFrame.from_ndarray(np.ones((1, 1000), dtype=np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        frames.append(frame)
    blocks = [block for frame in frames for block in converter.converted(frame)] + list(converter.rest())
    assert sum(map(len, blocks)) == 2000
    assert converter.failures == 1
