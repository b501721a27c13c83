"""Time stamps: holes become silence, jitter and single wrong stamps change nothing, absurd jumps are bounded."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from altervox.kernels.errors import AudioFileError
from altervox.tools.convert.timeline import Timeline
from cli_runner import read_audio

RATE = 48000
FRAME = 960
AAC = ("mkv", "mp4", "mov", "ts", "flv")
CODECS = {"webm": "libopus", "mka": "pcm_s16le"} | dict.fromkeys(AAC, "aac")
Stamp = Callable[[float], float]


def write(path: Path, stamp: Stamp, seconds: float = 4.0, video: bool = True, tracks: int = 1) -> Path:
    """A tone whose packets are stamped anew, beside a picture that begins at 0."""
    with av.open(str(path), "w") as container:
        streams: list[Any] = []
        for number in range(tracks):
            streams.append(container.add_stream(CODECS[path.suffix[1:]], rate=RATE, layout="mono"))
            if tracks > 1:
                streams[-1].metadata.update({"language": "eng", "title": f"Track\x1b[31m {number}"})
        picture: Any = container.add_stream("mpeg4" if path.suffix != ".webm" else "libvpx", rate=10) if video else None
        if picture is not None:
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
            for _ in range(10):
                container.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), "uint8"))))
            container.mux(picture.encode(None))
        for number, stream in enumerate(streams):
            time = np.arange(int(seconds * RATE)) / RATE
            tone = 0.3 * np.sin(2 * np.pi * 200 * (number + 1) * time)
            frame = av.AudioFrame.from_ndarray(tone.astype(np.float32)[None], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
            wanted = stream.codec_context.codec.audio_formats[0].name
            resampler = av.AudioResampler(wanted, "mono", RATE, stream.codec_context.frame_size or FRAME)
            packets = [p for part in resampler.resample(frame) for p in stream.encode(part)] + stream.encode(None)
            for packet in packets:
                moved = round(stamp(float(packet.pts * packet.time_base)) / packet.time_base)
                packet.pts = packet.dts = moved
                container.mux(packet)
    return path


def silent_s(samples: np.ndarray) -> np.ndarray:
    """Where it is silent, in steps of 10 ms."""
    return np.asarray(np.abs(samples[: len(samples) // 480 * 480]).reshape(-1, 480).max(1) < 0.02)


@pytest.mark.parametrize("suffix", CODECS)
def test_a_hole_is_silence(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.{suffix}", lambda s: s + 2 * (s > 1.99), video=suffix not in ("flv", "mka"))
    samples, source = read_audio(path)
    assert len(samples) / RATE == pytest.approx(6.0, abs=0.08)
    silent = silent_s(samples)
    assert silent[220:380].all()
    assert not silent[20:180].any()
    assert not silent[420:580].any()
    assert source.warnings == ["it has 1 hole by its time stamps, filled with 2.0 s of silence"]


@pytest.mark.parametrize("suffix", ["webm", "mkv", "mov", "ts"])
def test_sound_that_begins_after_the_picture(suffix: str, tmp_path: Path) -> None:
    samples, source = read_audio(write(tmp_path / f"x.{suffix}", lambda s: s + 1.5))
    assert len(samples) / RATE == pytest.approx(5.5, abs=0.08)
    assert silent_s(samples)[:140].all()
    assert source.warnings == []


@pytest.mark.parametrize("suffix", ["mkv", "mka", "ts"])
@pytest.mark.parametrize("late", [100.0, 3600.0])
def test_a_file_that_begins_late_as_a_whole(suffix: str, late: float, tmp_path: Path) -> None:
    samples, source = read_audio(write(tmp_path / f"x.{suffix}", lambda s: s + late, video=False))
    assert len(samples) / RATE == pytest.approx(4.0, abs=0.08)
    assert source.warnings == []


def jitter(seconds: float) -> float:
    return seconds + 0.009 * float(np.sin(seconds * 1000)) * (seconds > 0.1)


@pytest.mark.parametrize("suffix", ["mkv", "mka"])
def test_jitter_changes_nothing(suffix: str, tmp_path: Path) -> None:
    clean = read_audio(write(tmp_path / f"clean.{suffix}", lambda s: s, video=False))[0]
    moved, source = read_audio(write(tmp_path / f"x.{suffix}", lambda s: max(jitter(s), 0), video=False))
    assert source.warnings == []
    np.testing.assert_array_equal(moved, clean)


@pytest.mark.parametrize("jump", [2 * 3600.0, 26.5 * 3600.0])
def test_an_absurd_hole_is_closed_and_named(jump: float, tmp_path: Path) -> None:
    samples, source = read_audio(write(tmp_path / "x.mka", lambda s: s + jump * (s > 1.99), video=False))
    assert len(samples) / RATE == pytest.approx(4.0, abs=0.08)
    assert len(source.warnings) == 1
    assert f"jump by {jump / 3600:.1f} h at 2.0 s" in source.warnings[0]


@pytest.mark.parametrize("suffix", ["webm", "ts"])
def test_files_joined_end_to_end_start_again(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.{suffix}", lambda s: s)
    path.write_bytes(2 * path.read_bytes())
    samples, source = read_audio(path)
    assert len(samples) / RATE == pytest.approx(8.0, abs=0.08)
    assert source.warnings == ["its time stamps start again at 4.0 s; what follows is joined"]


def placed(stamps: list[float]) -> tuple[list[int], Timeline]:
    """What goes before each frame of 20 ms, in frames."""
    timeline = Timeline(RATE, 0.0)
    gaps = []
    for stamp, following in zip(stamps, [*stamps[1:], None], strict=True):
        gap = timeline.gap(stamp, FRAME, following)
        timeline.position += gap + FRAME
        gaps.append(gap)
    return [round(gap / FRAME) for gap in gaps], timeline


STEADY = [0.02 * i for i in range(20)]


@pytest.mark.parametrize("wrong", [-1e6, -5.0, 0.0, 0.1, 3.0, 1e6])
def test_a_single_wrong_stamp_changes_nothing(wrong: float) -> None:
    gaps, timeline = placed([*STEADY[:10], STEADY[10] + wrong, *STEADY[11:]])
    assert not any(gaps)
    assert timeline.summary() == []


def test_an_overlap_is_dropped() -> None:
    gaps, timeline = placed([*STEADY[:10], *(s - 0.1 for s in STEADY[10:])])
    assert sum(gaps) == -3  # the rest is within what stamps may waver
    assert timeline.summary() == ["0.06 s overlap by its time stamps and were left out"]


def test_silence_is_bounded_in_all() -> None:
    gaps, timeline = placed([3000.0 * i for i in range(100)])
    assert 0 < sum(gaps) * 0.02 <= 4 * 3600
    assert len(timeline.summary()) == 2


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "ts"])
def test_a_track_is_chosen(suffix: str, tmp_path: Path) -> None:
    path = write(tmp_path / f"x.{suffix}", lambda s: s, tracks=2)
    taken = {}
    for track in (None, 1, 2):
        samples, source = read_audio(path, track)
        taken[track] = round(float(np.argmax(np.abs(np.fft.rfft(samples[: 3 * RATE])))) / 3)
        if track is None:
            assert "it has 2 audio tracks; track 1 was taken, --track chooses another" in source.warnings[0]
            assert "\x1b" not in source.warnings[0]
        else:
            assert source.warnings == []
    assert taken == {None: 200, 1: 200, 2: 400}
    for track in (0, 3):
        with pytest.raises(AudioFileError, match=f"no track {track}: it has 2 audio tracks"):
            read_audio(path, track)
