"""Recordings of any format are found, read and cut; what cannot be used is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import own_recordings
import pytest
from altervox.kernels.errors import AudioFileError
from altervox.tools.voices import recordings
from altervox.tools.voices.recordings import read_recordings, utterances
from cli_runner import FEMALE, MALE, write_ffmpeg


def test_files_and_folders_of_any_format_each_once(tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    own_recordings.write(folder / "b" / "one.flac", own_recordings.spoken(2.0))
    write_ffmpeg(folder / "a.m4a", own_recordings.spoken(2.0, rate=48000), 48000, "aac")
    (folder / "notes.txt").write_text("what to read", "utf-8")
    (folder / ".DS_Store").write_bytes(b"hidden")
    (folder / "broken.wav").write_bytes(b"RIFF....WAVEfmt broken")
    own_recordings.write(folder / "silent.wav", np.zeros(24000, dtype=np.float32))
    found = read_recordings([MALE, folder, folder / "a.m4a", MALE])
    assert [item.path.name for item in found.items] == ["librivox_male.wav", "a.m4a", "one.flac"]
    assert [item.rate for item in found.items] == [16000, 48000, 24000]
    assert found.seconds == pytest.approx(5.3 + 2 + 2, abs=0.1)
    assert all(0.65 < np.abs(item.audio).max() / 32768 < 0.71 for item in found.items)
    remarks = "\n".join(found.remarks)
    assert "not audio files: notes.txt" in remarks
    assert "broken.wav" in remarks
    assert "silent.wav is silent" in remarks
    assert ".DS_Store" not in remarks


def test_no_more_than_half_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recordings, "LONGEST_S", 6.0)
    found = read_recordings([MALE, FEMALE])
    assert found.seconds == pytest.approx(6.0, abs=0.01)
    assert len(found.items) == 2
    assert "only the first" in found.remarks[-1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.wav", "does not exist"),
        ("empty.wav", "is empty"),
        ("page.mp3", "page.mp3"),
        ("folder", "no recording can be used .*notes.txt"),
        ("hollow", "there are no files in it"),
    ],
)
def test_a_file_that_was_named_must_be_readable(name: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "page.mp3").write_text("<html>404</html>", "utf-8")
    (tmp_path / "hollow").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").touch()
    with pytest.raises(AudioFileError, match=said):
        read_recordings([tmp_path / name])


def test_utterances_are_where_somebody_speaks() -> None:
    audio = own_recordings.recording(own_recordings.spoken(60.0)).audio
    audio[: 5 * 24000] = 0
    audio[50 * 24000 :] = 0
    cuts = utterances(audio)
    lengths = [(cut.stop - cut.start) / 24000 for cut in cuts]
    assert all(0.8 <= length <= 12.0 for length in lengths)
    assert cuts[0].start >= 4.8 * 24000
    assert cuts[-1].stop <= 50.3 * 24000
    kept = np.concatenate([audio[cut] for cut in cuts]).astype(np.float64)
    assert np.square(kept).sum() > 0.995 * np.square(audio.astype(np.float64)).sum()
    assert len(kept) < 0.92 * 45 * 24000, "little of the pauses"


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(100), np.zeros(48000), np.ones(48000)], ids=str)
def test_nothing_is_said(audio: np.ndarray) -> None:
    assert len(utterances(audio.astype(np.int16))) == 0


def test_somebody_who_never_pauses_is_cut_where_it_is_quietest() -> None:
    rng = np.random.default_rng(0)
    audio = (4000 * rng.standard_normal(40 * 24000)).clip(-32000, 32000)
    audio[9 * 24000 : 9 * 24000 + 2400] *= 0.5
    cuts = utterances(audio.astype(np.int16))
    assert sum(cut.stop - cut.start for cut in cuts) > 39 * 24000
    assert cuts[0].stop == pytest.approx(9.05 * 24000, abs=2400)
