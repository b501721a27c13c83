"""Reading whatever people have, and writing it so that nothing is lost, invented or left behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import AudioFileError, OutputError, ParameterError
from altervox.models.dsp import DSP_VOICES
from altervox.models.voice import VoiceParams
from altervox.tools.audio_reader import AudioSource, open_audio
from altervox.tools.audio_writer import accepted_rate, container_of, kept_subtype, open_writer
from altervox.tools.convert import Job, convert_file
from numpy.typing import NDArray

BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
FORMATS = [
    *((".wav", subtype) for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *((".flac", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24")),
    *((".aiff", subtype) for subtype in ("PCM_S8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
]


def read_all(path: Path, repair: bool = False) -> tuple[NDArray[np.float64], AudioSource]:
    with open_audio(path) as source:
        return np.concatenate(list(source.blocks(repair))), source


def tone(samples: int, rate: int) -> NDArray[np.float64]:
    """Bursts of a tone, so that a shift in time would show."""
    t = np.arange(samples) / rate
    return np.asarray(0.4 * np.sin(2 * np.pi * 440 * t) * (np.sin(2 * np.pi * 3 * t) > 0.3))


def write_with_ffmpeg(path: Path, codec: str, audio: NDArray[Any], rate: int = 48000, **options: Any) -> None:
    """Encode [channels, N]; `picture` puts a video track before the sound, `bit_rate` is in bit/s."""
    picture, bit_rate = options.pop("picture", False), options.pop("bit_rate", 128000)
    with av.open(str(path), "w", **options) as container:
        video = container.add_stream("mpeg4", rate=25) if picture else None
        layout = "mono" if len(audio) == 1 else "stereo"
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.bit_rate = bit_rate
        if video is not None:
            video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux([*video.encode(frame), *video.encode(None)])
        sample_format = "s16" if codec.startswith("pcm") else "fltp"
        for start in range(0, audio.shape[1], 960):
            block = audio[:, start : start + 960]
            block = block.astype(np.float32) if sample_format == "fltp" else block.T.reshape(1, -1)
            sound = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format=sample_format, layout=layout)
            sound.sample_rate, sound.pts = rate, start
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))


def assert_follows(heard: NDArray[np.float64], source: NDArray[np.float64]) -> None:
    """Much the same sound at the same time: shifted by a millisecond it would fit far worse."""
    shared = min(len(heard), len(source))
    assert np.corrcoef(heard[:shared], source[:shared])[0, 1] > 0.97


@pytest.mark.parametrize(("ending", "subtype"), FORMATS)
def test_off_keeps_every_bit_of_mono_sound(ending: str, subtype: str, tmp_path: Path) -> None:
    source, target = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    rng = np.random.default_rng(1)
    if subtype in BITS:
        top = 2 ** (BITS[subtype] - 1)
        steps = np.concatenate(([-top, top - 1, 0, 1, -1], rng.integers(-top, top, 30000)))
        soundfile.write(source, (steps << (32 - BITS[subtype])).astype(np.int32), 22050, subtype)
    else:
        values = np.concatenate(([-3.5, 1e-30, 1.0, np.nextafter(1, 2)], rng.normal(size=30000)))
        soundfile.write(source, values, 22050, subtype)
    convert_file(Job(source, target), DSP_VOICES["off"], VoiceParams())
    assert soundfile.info(target).subtype == subtype
    assert soundfile.info(target).samplerate == 22050
    dtype = "int32" if subtype in BITS else "float64"
    np.testing.assert_array_equal(soundfile.read(target, dtype=dtype)[0], soundfile.read(source, dtype=dtype)[0])


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels: int, tmp_path: Path) -> None:
    samples = np.random.default_rng(2).integers(-32768, 32768, (70000, channels)).astype(np.int16)
    soundfile.write(tmp_path / "in.wav", samples, 48000)
    heard, source = read_all(tmp_path / "in.wav")
    assert source.channels == channels
    np.testing.assert_allclose(heard, samples.mean(axis=1) / 32768, atol=1e-15)


def test_a_long_file_comes_in_small_blocks(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "in.wav", np.zeros(8000 * 30), 8000)
    write_with_ffmpeg(tmp_path / "in.webm", "libopus", np.zeros((1, 48000 * 30)))
    for name, rate in (("in.wav", 8000), ("in.webm", 48000)):
        with open_audio(tmp_path / name) as source:
            sizes = [len(block) for block in source.blocks()]
        assert sum(sizes) == 30 * rate
        assert max(sizes) < 1.5 * rate
        assert len(sizes) < 40, "crumbs cost time"


@pytest.mark.parametrize(
    ("name", "codec", "picture"),
    [
        ("voice memo.m4a", "aac", False),
        ("call.webm", "libopus", False),
        ("lecture.mkv", "aac", True),
        ("clip.mp4", "aac", True),
        ("clip.mov", "pcm_s16le", True),
        ("radio.aac", "aac", False),
        ("old.mp3", "mp3", False),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_ffmpeg_reads_the_rest(name: str, codec: str, picture: bool, channels: int, tmp_path: Path) -> None:
    wave = tone(48000 * 2, 48000)
    audio = np.stack([wave, wave * 0.5][:channels])
    audio = np.rint(audio * 32767).astype(np.int16) if codec.startswith("pcm") else audio
    write_with_ffmpeg(tmp_path / name, codec, audio, picture=picture)
    heard, source = read_all(tmp_path / name)
    assert (source.sample_rate, source.channels, source.warnings) == (48000, channels, [])
    # AAC and MP3 come in frames, and without an edit list (.aac) their lead-in is part of the sound.
    assert 0 <= len(heard) - len(wave) <= 3 * 1152
    if name != "radio.aac":
        assert_follows(heard, wave)
    if codec.startswith("pcm"):
        np.testing.assert_array_equal(heard, audio.mean(axis=0) / 32768)


def test_the_content_counts_and_not_the_ending(tmp_path: Path) -> None:
    wave = tone(48000, 48000)
    write_with_ffmpeg(tmp_path / "a.webm", "libopus", wave[None])
    (tmp_path / "a.webm").rename(tmp_path / "a.wav")
    soundfile.write(tmp_path / "b.wav", wave, 48000)
    (tmp_path / "b.wav").rename(tmp_path / "b.mp3")
    (tmp_path / "c.raw").write_bytes((tmp_path / "b.mp3").read_bytes())
    for name in ("a.wav", "b.mp3", "c.raw"):
        heard, _ = read_all(tmp_path / name)
        assert len(heard) == 48000
        assert_follows(heard, wave)


def test_a_video_without_sound_says_so(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "mute.mp4"), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        container.mux([*video.encode(frame), *video.encode(None)])
    with pytest.raises(AudioFileError, match=r"mute\.mp4 has no sound"), open_audio(tmp_path / "mute.mp4"):
        pass


def test_a_playlist_leads_nowhere(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "secret.mp3", tone(16000, 16000), 16000)
    (tmp_path / "list.mp3").write_text("ffconcat version 1.0\nfile secret.mp3\n", "utf-8")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.mp3\n", "utf-8")
    for name in ("list.mp3", "list.m3u8"):
        with pytest.raises(AudioFileError):
            read_all(tmp_path / name)


def test_a_stream_may_change_from_mono_to_stereo(tmp_path: Path) -> None:
    write_with_ffmpeg(tmp_path / "mono.aac", "aac", tone(48000, 48000)[None])
    write_with_ffmpeg(tmp_path / "stereo.aac", "aac", np.stack([tone(48000, 48000)] * 2))
    parts = [(tmp_path / name).read_bytes() for name in ("mono.aac", "stereo.aac")]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    lengths = [len(read_all(tmp_path / name)[0]) for name in ("mono.aac", "stereo.aac", "both.aac")]
    assert abs(lengths[2] - lengths[0] - lengths[1]) <= 1024


def test_reading_mp3_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libsndfile's decoder complains on stderr about sound files, this one among them."""
    t = np.arange(64000) / 16000
    wave = 0.3 * np.sin(2 * np.pi * 220 * t) * np.sin(4 * np.pi * t) + 0.01 * np.random.default_rng(0).normal(
        size=64000
    )
    soundfile.write(tmp_path / "in.mp3", wave, 16000)
    heard, source = read_all(tmp_path / "in.mp3")
    assert len(heard) == 64000
    assert source.warnings == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("ending", [".wav", ".aiff", ".flac", ".mp3"])
def test_a_file_cut_short_gives_what_is_left_and_a_warning(ending: str, tmp_path: Path) -> None:
    whole, cut = tmp_path / f"whole{ending}", tmp_path / f"cut{ending}"
    noise = tone(16000 * 8, 16000) + 0.01 * np.random.default_rng(3).normal(size=16000 * 8)  # FLAC needs some
    soundfile.write(whole, noise, 16000)
    assert read_all(whole)[1].warnings == []
    data = whole.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    heard, source = read_all(cut)
    assert 2.9 * 16000 < len(heard) < 4.5 * 16000  # FLAC loses the block that breaks off
    assert_follows(heard, noise)
    assert "cut short" in source.warnings[-1]
    missing_s = float(source.warnings[-1].split(": ")[1].split(" s")[0])
    assert abs(missing_s - (8 - len(heard) / 16000)) < 0.1


def test_a_length_that_nobody_announced_is_not_missed(tmp_path: Path) -> None:
    """A header written before the length was known, and an MP3 whose length is a guess from its bit rate."""
    soundfile.write(tmp_path / "in.wav", np.zeros(8000), 8000)
    data = bytearray((tmp_path / "in.wav").read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    (tmp_path / "pipe.wav").write_bytes(data)
    second = tone(48000, 48000)[None]
    for name, bit_rate in (("thin.mp3", 32000), ("rich.mp3", 320000)):
        no_length = {"write_xing": "0", "id3v2_version": "0"}
        write_with_ffmpeg(tmp_path / name, "mp3", second, bit_rate=bit_rate, container_options=no_length)
    parts = [(tmp_path / name).read_bytes() for name in ("thin.mp3", "rich.mp3")]
    (tmp_path / "radio.mp3").write_bytes(b"".join(parts))  # by its first frames it would last eleven seconds
    for name in ("pipe.wav", "radio.mp3"):
        assert read_all(tmp_path / name)[1].warnings == []


def test_samples_that_are_no_number(tmp_path: Path) -> None:
    audio = np.stack([np.full(20000, 0.25)] * 2, axis=1)
    audio[12000:12003, 1] = np.nan
    audio[15000] = np.inf, -np.inf
    soundfile.write(tmp_path / "in.wav", audio, 8000, "FLOAT")
    with pytest.raises(AudioFileError, match=r"1\.500 s; --repair"):
        read_all(tmp_path / "in.wav")
    heard, source = read_all(tmp_path / "in.wav", repair=True)
    wrong = [12000, 12001, 12002, 15000]
    assert np.flatnonzero(heard == 0).tolist() == wrong
    assert (np.delete(heard, wrong) == 0.25).all()
    assert source.warnings == ["4 samples that were no number are silence now"]


def write(path: Path, blocks: Iterable[NDArray[Any]], rate: int = 48000, subtype: str | None = None) -> None:
    container = container_of(path)
    with open_writer(path, container, kept_subtype(container, subtype), rate, None) as writer:
        for block in blocks:
            writer.write(block)


def test_loud_samples_are_clipped_and_never_wrap(tmp_path: Path) -> None:
    write(tmp_path / "out.wav", [np.array([1.0, 1.7, -1.7, 1e9, -1e9, 0.5 + 0.6 / 32768])])
    steps = soundfile.read(tmp_path / "out.wav", dtype="int16")[0]
    assert steps.tolist() == [32767, 32767, -32768, 32767, -32768, 16385]


@pytest.mark.parametrize("name", ["a.ogg", "a.opus", "a.mp3", "a.flac"])
@pytest.mark.parametrize("samples", [1, 1001, 48000 * 60])
def test_every_format_keeps_the_length(name: str, samples: int, tmp_path: Path) -> None:
    """A minute comes in one block: libsndfile's Vorbis encoder would put it on the stack and crash."""
    wave = tone(samples, 48000)
    write(tmp_path / name, [wave])
    heard = soundfile.read(tmp_path / name)[0]
    assert len(heard) == samples
    if samples > 1:
        assert np.abs(heard - wave).mean() < 0.05


@pytest.mark.parametrize(
    ("name", "rate", "written"),
    [
        ("a.opus", 44100, 48000),
        ("a.opus", 96000, 48000),
        ("a.mp3", 3000, 8000),
        ("a.mp3", 44100, 44100),
        ("a.mp3", 384000, 48000),
        ("a.ogg", 384000, 192000),
        ("a.flac", 700000, 655350),
        ("a.wav", 3000, 3000),
        ("a.aif", 384000, 384000),
    ],
)
def test_a_rate_that_a_format_takes(name: str, rate: int, written: int, tmp_path: Path) -> None:
    assert accepted_rate(container_of(Path(name)), rate) == written
    write(tmp_path / name, [np.zeros(5000)], written)
    assert soundfile.info(tmp_path / name).frames == 5000


@pytest.mark.parametrize(
    ("name", "subtype", "kept"),
    [
        ("a.wav", None, "PCM_16"),
        ("a.wav", "PCM_S8", "PCM_U8"),
        ("a.wav", "DOUBLE", "DOUBLE"),
        ("a.FLAC", "PCM_U8", "PCM_S8"),
        ("a.flac", "FLOAT", "PCM_24"),
        ("a.flac", "PCM_32", "PCM_24"),
        ("a.aiff", "PCM_U8", "PCM_S8"),
        ("a.opus", "PCM_24", "OPUS"),
    ],
)
def test_the_sample_format_is_kept_where_it_can_be(name: str, subtype: str | None, kept: str, tmp_path: Path) -> None:
    assert kept_subtype(container_of(Path(name)), subtype) == kept
    write(tmp_path / name, [np.zeros(100)], subtype=subtype)
    assert soundfile.info(tmp_path / name).subtype == kept


@pytest.mark.parametrize("name", ["a.txt", "a", "a.m4a"])
def test_an_unknown_ending_names_the_known_ones(name: str) -> None:
    with pytest.raises(ParameterError, match=r"use one of \.wav \.flac \.aiff \.ogg \.opus \.mp3"):
        container_of(Path(name))


def test_more_than_wav_can_hold_becomes_rf64(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    with open_writer(path, container_of(path), "FLOAT", 48000, expected_frames=1_100_000_000) as writer:
        writer.write(np.full(100, 0.25))
    assert soundfile.info(path).format == "RF64"
    assert len(read_all(path)[0]) == 100


class MishapError(Exception):
    pass


def broken_off() -> Iterable[NDArray[Any]]:
    yield np.zeros(1000)
    raise MishapError


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(MishapError):
        write(tmp_path / "new" / "folders" / "a.wav", broken_off())
    assert list(tmp_path.iterdir()) == []


def test_an_older_result_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"older")
    with pytest.raises(MishapError):
        write(path, broken_off())
    assert path.read_bytes() == b"older"
    write(path, [np.zeros(1000)])
    assert soundfile.info(path).frames == 1000
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"a\.wav cannot be written: "):
        write(tmp_path / "file" / "folder" / "a.wav", [np.zeros(10)])
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_trouble_of_the_source_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    def fails() -> Iterable[NDArray[Any]]:
        yield np.zeros(10)
        raise TimeoutError("the network drive is gone")

    with pytest.raises(TimeoutError):
        write(tmp_path / "a.wav", fails())
