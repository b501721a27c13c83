"""Headers that say less than the file holds, and files joined end to end: all of the sound comes out, and is named."""

from __future__ import annotations

import io
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import AudioFileError
from altervox.tools.convert import layout
from altervox.tools.convert.layout import FileBytes, parts_of
from cli_runner import read_audio, write_ffmpeg

RATE = 16000
TONE = 0.3 * np.sin(2 * np.pi * 150 * np.arange(4 * RATE) / RATE)
FORMS = {
    "wav": ("WAV", b"data", "<I"),
    "rf64": ("RF64", b"data", "<I"),
    "aiff": ("AIFF", b"SSND", ">I"),
    "caf": ("CAF", b"data", ">q"),
    "w64": ("W64", b"data\xf3\xac\xd3\x11", "<Q"),
    "au": ("AU", b".snd", ">I"),
}
# Where the size stands from the identifier on, and what it counts beside the samples.
SIZE_AT = {"wav": (4, 0), "rf64": (4, 0), "aiff": (4, 8), "caf": (4, 4), "w64": (16, 24), "au": (8, 0)}
SUBTYPES = ["PCM_16", "PCM_24", "FLOAT"]


def encoded(form: str, subtype: str = "PCM_16", samples: Any = TONE, rate: int = RATE) -> bytearray:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, subtype, format=form)
    return bytearray(file.getvalue())


def state(content: bytearray, form: str, size: int) -> None:
    """Set the size of the samples in a header."""
    _, mark, kind = FORMS[form]
    at = content.index(mark) + SIZE_AT[form][0]
    if form == "rf64":
        content[28:36] = struct.pack("<Q", size)  # in the ds64 chunk
        return
    content[at : at + struct.calcsize(kind)] = struct.pack(kind, size + SIZE_AT[form][1])


def sample_bytes(subtype: str) -> int:
    return len(TONE) * {"PCM_16": 2, "PCM_24": 3, "FLOAT": 4}[subtype]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("subtype", SUBTYPES)
@pytest.mark.parametrize("share", [0.0, 0.25])
def test_sizes_that_were_not_updated(form: str, subtype: str, share: float, tmp_path: Path) -> None:
    content = encoded(FORMS[form][0], subtype)
    path = tmp_path / f"x.{form}"
    path.write_bytes(content)
    wanted = read_audio(path)[0]
    state(content, form, int(sample_bytes(subtype) * share))
    path.write_bytes(content)
    samples, source = read_audio(path)
    np.testing.assert_array_equal(samples, wanted)
    (said,) = source.warnings
    assert ("header is unfinished" if share == 0 else "header states 1.0 s") in said
    assert "all 4.0 s in the file were read" in said
    assert source.subtype == subtype


@pytest.mark.parametrize("riff", ["zero", "head", "right", "own"])
@pytest.mark.parametrize("data", [0, 0xFFFFFFFF])
@pytest.mark.parametrize("before", [b"", b"JUNK" + struct.pack("<I", 4044) + bytes(4044)])
def test_a_wav_that_was_never_closed(riff: str, data: int, before: bytes, tmp_path: Path) -> None:
    content = encoded("WAV")
    state(content, "wav", data)
    content[12:12] = before
    size = {"zero": 0, "head": 36 + len(before), "right": len(content) - 8, "own": 8}[riff]
    content[4:8] = struct.pack("<I", size)
    (tmp_path / "x.wav").write_bytes(content)
    samples, source = read_audio(tmp_path / "x.wav")
    np.testing.assert_allclose(samples, TONE, atol=4e-5)
    assert len(source.warnings) == 1
    assert "header is unfinished" in source.warnings[0]


@pytest.mark.parametrize("layout", ["WAVEX", "stereo", "ULAW", "IMA_ADPCM"])
def test_unfinished_wavs_of_other_kinds(layout: str, tmp_path: Path) -> None:
    subtype = layout if layout in ("ULAW", "IMA_ADPCM") else "PCM_24"
    samples = np.stack([TONE, TONE * 0.5], 1) if layout == "stereo" else TONE
    content = encoded("WAVEX" if layout == "WAVEX" else "WAV", subtype, samples)
    (tmp_path / "x.wav").write_bytes(content)
    wanted = read_audio(tmp_path / "x.wav")[0]
    state(content, "wav", 0)
    content[4:8] = bytes(4)
    (tmp_path / "x.wav").write_bytes(content)
    found = read_audio(tmp_path / "x.wav")[0]
    assert abs(len(found) - len(wanted)) < 1000
    np.testing.assert_allclose(found[: len(TONE) - 1000], wanted[: len(TONE) - 1000], atol=1e-3)


CHUNK = b"LIST" + struct.pack("<I", 26) + b"INFOISFT" + struct.pack("<I", 14) + b"Lavf60.3.100\0\0"


@pytest.mark.parametrize(
    "after",
    [
        CHUNK,
        CHUNK + b"id3 " + struct.pack("<I", 5) + b"ID3xx\0",
        CHUNK + b"abcd" + struct.pack("<I", 2) + b"xy",
        CHUNK[:20],
        b"TAG" + bytes(125),
        bytes(512),
        b"\0",
    ],
    ids=["list", "list and id3", "unknown", "cut", "id3v1", "padding", "byte"],
)
def test_what_is_no_sound_stays_out(after: bytes, tmp_path: Path) -> None:
    content = encoded("WAV")
    path = tmp_path / "x.wav"
    path.write_bytes(content + after)
    samples, source = read_audio(path)
    assert len(samples) == len(TONE)
    assert source.warnings == []


@pytest.mark.parametrize("after", [b"", CHUNK])
def test_sizes_that_wrapped_at_4_gib(after: bytes, tmp_path: Path) -> None:
    content = encoded("WAV")
    with (tmp_path / "x.wav").open("w+b") as file:  # with a hole that takes no room on most disks
        file.write(content[:44])
        file.seek(44 + 2**32)
        file.write(content[44:] + after)
        (part,) = parts_of(FileBytes(file))
    assert part.samples is not None
    assert part.samples.length == 2**32 + 2 * len(TONE)
    (tmp_path / "x.wav").unlink()


def test_an_empty_wav_with_a_chunk_after_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(bytes(encoded("WAV", samples=np.zeros(0))) + CHUNK)
    with pytest.raises(AudioFileError, match="0 samples"):
        read_audio(tmp_path / "x.wav")


JOINED = ["wav", "aiff", "flac", "ogg", "opus", "oga"]
KINDS = {"wav": ("WAV", "PCM_16"), "aiff": ("AIFF", "PCM_16"), "flac": ("FLAC", "PCM_16"), "ogg": ("OGG", "VORBIS")}


@pytest.mark.parametrize("suffix", JOINED)
@pytest.mark.parametrize("other", ["same", "rate", "channels"])
def test_files_joined_end_to_end(suffix: str, other: str, tmp_path: Path) -> None:
    rate = 24000 if other == "rate" else 48000
    tones = [0.3 * np.sin(2 * np.pi * f * np.arange(2 * r) / r) for f, r in ((200, 48000), (300, rate), (400, 48000))]
    joined = b""
    for tone, own in zip(tones, (48000, rate, 48000), strict=True):
        samples = np.stack([tone, tone], 1) if other == "channels" and tone is tones[1] else tone
        if suffix == "oga":  # FLAC in Ogg
            layout = "stereo" if samples.ndim == 2 else "mono"
            part = write_ffmpeg(tmp_path / "part.oga", samples.T, own, "flac", layout=layout)
            joined += part.read_bytes()
        elif suffix == "opus":
            joined += encoded("OGG", "OPUS", samples, own)
        else:
            joined += encoded(*KINDS[suffix], samples, own)
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(joined)
    samples, source = read_audio(path)
    assert source.warnings == []
    assert abs(len(samples) - 3 * 96000) <= 4
    if suffix != "oga":  # FFmpeg reads that, and estimates by the first link
        assert source.estimated_s == pytest.approx(6.0, abs=0.01)
    for i, frequency in enumerate((200, 300, 400)):
        middle = samples[i * 96000 + 8000 : (i + 1) * 96000 - 8000]
        power = np.abs(np.fft.rfft(middle * np.hanning(len(middle))))
        assert np.argmax(power) * 48000 / len(middle) == pytest.approx(frequency, abs=1)
        assert np.std(middle) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("suffix", ["mp3", "aac"])
@pytest.mark.parametrize("second_rate", [44100, 22050])
def test_compressed_files_joined_end_to_end(suffix: str, second_rate: int, tmp_path: Path) -> None:
    joined = b""
    for rate in (44100, second_rate):
        tone = 0.3 * np.sin(2 * np.pi * 300 * np.arange(3 * rate) / rate)
        joined += write_ffmpeg(
            tmp_path / f"part.{suffix}", tone, rate, "libmp3lame" if suffix == "mp3" else "aac"
        ).read_bytes()
    (tmp_path / f"x.{suffix}").write_bytes(joined)
    samples, _ = read_audio(tmp_path / f"x.{suffix}")
    assert len(samples) == pytest.approx(6 * 44100, abs=8 * 1152)
    loud = np.abs(samples).reshape(-1)[: len(samples) // 441 * 441].reshape(-1, 441).max(1) > 0.1
    assert loud.mean() > 0.95


@pytest.mark.parametrize("form", ["wav", "aiff"])
def test_countless_files_joined_end_to_end_are_refused_at_once(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{form}"
    part = bytes(encoded(form, samples=TONE[:10]))
    path.write_bytes(part * 1000)
    assert len(read_audio(path)[0]) == 10_000
    path.write_bytes(part * 100_000)
    with pytest.raises(AudioFileError, match="more than 1000 sound files joined end to end"):
        read_audio(path)


@pytest.mark.parametrize("piece", [b"fLaC", b"OggS\0\0" + bytes(20) + b"\0x"])
def test_marks_close_to_one_another_are_found_in_linear_time(piece: bytes) -> None:
    class File(io.BytesIO):
        given = 0

        def read_audio(self, size: int | None = -1, /) -> bytes:
            found = super().read(size)
            self.given += len(found)
            return found

    file = File((piece * 10_000)[:100_000])
    assert len(parts_of(FileBytes(file))) == 1
    assert file.given < 50 * 100_000


@pytest.mark.parametrize("searched", [4, 5, 7, 1000])
def test_searching_piece_by_piece(searched: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "_SEARCHED_BYTES", searched)
    text = b"abcdabc abcdabcdabcd  dabc abcdab cdabcd"
    content = FileBytes(io.BytesIO(text))
    for what in (b"abcd", b"cd", b"x", text[:3], text[-4:]):
        for start in [*range(len(text) + 2), *range(len(text), -1, -3)]:
            assert content.find(what, start) == text.find(what, start)


OGG = {"ogg": "VORBIS", "opus": "OPUS", "oga": ""}


def ogg(path: Path, seconds: int) -> bytes:
    """A tone that goes up by 40 Hz in each second."""
    time = np.arange(seconds * 48000) / 48000
    tone = 0.3 * np.sin(2 * np.pi * (200 * time + 20 * time**2))
    if path.suffix == ".oga":
        return write_ffmpeg(path, tone, 48000, "flac").read_bytes()
    path.write_bytes(encoded("OGG", OGG[path.suffix[1:]], tone, 48000))
    return path.read_bytes()


@pytest.mark.parametrize("suffix", OGG)
def test_an_ogg_that_was_cut_off(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    content = ogg(path, 10)
    assert read_audio(path)[1].warnings == []
    path.write_bytes(content[: len(content) // 2])
    samples, source = read_audio(path)
    assert 2 * 48000 < len(samples) < 6 * 48000
    assert source.warnings == ["its last page is missing: the download or the recording was cut off"]


@pytest.mark.parametrize("suffix", OGG)
@pytest.mark.parametrize("is_left_out", [False, True])
def test_a_hole_in_an_ogg_becomes_silence(suffix: str, is_left_out: bool, tmp_path: Path) -> None:
    path = tmp_path / f"x.{suffix}"
    content = ogg(path, 10)
    at = content.index(b"OggS", len(content) // 3)
    after = content.index(b"OggS", at + 4)
    page = b"" if is_left_out else content[at : after - 1] + bytes([content[after - 1] ^ 1])
    path.write_bytes(content[:at] + page + content[after:])
    samples, source = read_audio(path)
    assert len(samples) == 10 * 48000
    said = source.warnings
    assert said[0] == "it is damaged: pages are missing in 1 place"
    assert re.fullmatch(r"it has 1 hole by its time stamps, filled with \d\.\d s of silence", said[1])
    for second in (0, 1, 8, 9):
        middle = samples[second * 48000 + 20000 : second * 48000 + 28000]
        power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 17))
        assert np.argmax(power) * 48000 / (1 << 17) == pytest.approx(220 + 40 * second, abs=5)


def test_a_hole_in_one_of_several_oggs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x.ogg"
    content = bytearray(ogg(path, 8))
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content + content)
    samples, source = read_audio(path)
    assert len(samples) < 16 * 48000
    assert source.warnings[0] == "it is damaged: pages are missing in 2 places"
