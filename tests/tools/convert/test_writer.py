"""Writing: nothing wraps, nothing is lost, every format keeps the length, and a failure leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import OutputError, ParameterError
from altervox.tools.convert.writer import _incomplete, accepted_rate, container_of, kept_subtype, open_writer
from numpy.typing import NDArray


def tone(samples: int, rate: int) -> NDArray[np.float64]:
    """Bursts of a tone, so that a shift in time would show."""
    t = np.arange(samples) / rate
    return np.asarray(0.4 * np.sin(2 * np.pi * 440 * t) * (np.sin(2 * np.pi * 3 * t) > 0.3))


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
        ("a.flac", 96001, 96010),
        ("a.flac", 65535, 65535),
        ("a.flac", 176400, 176400),
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
    assert soundfile.info(path).frames == 100


def test_more_than_aiff_can_hold_is_refused_at_once(tmp_path: Path) -> None:
    path, flac = tmp_path / "a.aiff", tmp_path / "a.flac"
    with (
        pytest.raises(OutputError, match=r"a\.aiff would be larger than the 4 GB that its format holds"),
        open_writer(path, container_of(path), "FLOAT", 48000, expected_frames=1_100_000_000),
    ):
        raise MishapError
    with open_writer(flac, container_of(flac), "PCM_24", 48000, expected_frames=1_400_000_000) as writer:
        writer.write(np.zeros(10))
    assert list(tmp_path.iterdir()) == [flac]


@pytest.mark.parametrize(("name", "expected"), [("a.aiff", None), ("a.wav", 10)])
def test_what_grows_beyond_the_format_is_refused(name: str, expected: int | None, tmp_path: Path) -> None:
    path = tmp_path / name

    def grow() -> None:
        with open_writer(path, container_of(path), "PCM_16", 48000, expected) as writer:
            writer.write(np.zeros(10))
            writer.frames = 2_000_000_000 - 5
            writer.write(np.zeros(5))
            writer.write(np.zeros(1))

    with pytest.raises(OutputError, match=f"{name} would be larger than the 4 GB"):
        grow()
    assert list(tmp_path.iterdir()) == []


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


@pytest.mark.parametrize("name", ["a.mp3", "a.opus", "a.wav"])
def test_an_input_of_less_than_a_sample_is_said_to_be_too_short(name: str, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=f"{name} would be empty, for the input is too short for a sample at 48000"):
        write(tmp_path / name, [np.zeros(0)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.linux
def test_only_a_full_disk_is_called_full(tmp_path: Path) -> None:
    assert "completely: the disk is full; make room" in str(_incomplete(Path("/dev/full"), tmp_path / "a.wav"))
    assert "completely: Is a directory" in str(_incomplete(tmp_path, tmp_path / "a.wav"))
    (tmp_path / "part").touch()
    assert "completely: the encoder does not say" in str(_incomplete(tmp_path / "part", tmp_path / "a.wav"))


def test_a_trouble_of_the_source_is_not_blamed_on_the_output(tmp_path: Path) -> None:
    def fails() -> Iterable[NDArray[Any]]:
        yield np.zeros(10)
        raise TimeoutError("the network drive is gone")

    with pytest.raises(TimeoutError):
        write(tmp_path / "a.wav", fails())
