"""Recording: the two files are alike in length, whole at any moment, and say what is missing from them."""

from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from altervox.kernels.errors import OutputError
from altervox.realtime.session.recorder import Recorder
from altervox.realtime.session.wav_file import WavFile
from cli_runner import full_disk

RATE = 48000
BLOCK = np.linspace(-1, 1, 960, dtype=np.float32)


def lengths(recorder: Recorder) -> list[int]:
    return [soundfile.info(path).frames for path in recorder.paths]


def test_what_came_in_and_went_out(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "new" / "folder", RATE)
    for _ in range(100):
        recorder.take(BLOCK, -BLOCK)
    recorder.close()
    assert recorder.error == ""
    assert [path.name[:6] for path in recorder.paths] == ["input-", "output"]
    for path, sign in zip(recorder.paths, (1, -1), strict=True):
        samples, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        assert soundfile.info(path).format == "WAV"
        np.testing.assert_array_equal(samples, np.tile(sign * BLOCK, 100))


def test_a_slow_disk_leaves_the_same_gaps_in_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(tmp_path, RATE)
    write = WavFile.write

    def slow(self: WavFile, samples: np.ndarray) -> None:
        if self.path.name.startswith("input"):  # the two rings are emptied at different times
            time.sleep(0.02)
        write(self, samples)

    monkeypatch.setattr(WavFile, "write", slow)
    for number in range(3000):
        recorder.take(np.full(960, number, np.float32), np.full(960, number, np.float32))
    recorder.close()
    assert recorder.lost > 0
    assert "the recording has gaps" in recorder.error
    heard, sent = (soundfile.read(path)[0] for path in recorder.paths)
    assert len(heard) + recorder.lost == 3000 * 960
    np.testing.assert_array_equal(heard, sent)


@pytest.mark.parametrize("limit", [200, 100_000])
def test_a_full_disk_stops_the_recording(limit: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if sys.platform == "win32":
        return
    with full_disk(limit):
        recorder = Recorder(tmp_path, RATE)
        for _ in range(100):
            recorder.take(BLOCK, BLOCK)
        recorder.close()
    assert recorder.error.startswith(f"recording stopped: {tmp_path} cannot be written (File too large")
    assert [record.getMessage() for record in caplog.records] == [recorder.error]
    for path in recorder.paths:
        assert 8 + int.from_bytes(path.read_bytes()[4:8], "little") <= path.stat().st_size <= limit
        assert soundfile.info(path).frames * 4 <= limit
    recorder.take(BLOCK, BLOCK)  # the session goes on
    assert recorder.lost == 0


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), TypeError("odd"), MemoryError()])
def test_any_failure_is_told(failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: WavFile, samples: np.ndarray) -> None:
        raise failure

    monkeypatch.setattr(WavFile, "write", fails)
    recorder = Recorder(tmp_path, RATE)
    recorder.take(BLOCK, BLOCK)
    recorder.close()
    assert recorder.error.startswith("recording stopped: ")
    if isinstance(failure, OSError):
        assert recorder.error == f"recording stopped: no space left on {tmp_path}"


def test_a_folder_that_takes_no_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"cannot record to .*file"):
        Recorder(tmp_path / "file", RATE)


def test_beyond_4_gib_it_is_rf64(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    file = WavFile(path, RATE)
    file._bytes = 2**32 - 4 * RATE  # as if so much had been written: a hole on the disk
    with path.open("r+b") as hole:
        hole.truncate(80 + file._bytes)
    for number in range(3):
        file.write(np.full(RATE, 0.25 * number, np.float32))
        assert soundfile.info(path).frames == 2**30 + RATE * number
        assert soundfile.info(path).format == ("WAV", "RF64", "RF64")[number] if number else True
    file.close()
    with soundfile.SoundFile(path) as read:
        assert read.format == "RF64"
        read.seek(-RATE, 2)
        np.testing.assert_array_equal(read.read(), 0.5)
    path.unlink()


def test_a_killed_process_leaves_whole_files(tmp_path: Path) -> None:
    script = (
        "import sys, time, numpy as np; from pathlib import Path;"
        "from altervox.realtime.session.recorder import Recorder;"
        "recorder = Recorder(Path(sys.argv[1]), 48000); block = np.full(960, 0.5, np.float32);"
        "print('ready', flush=True)\n"
        "while True: recorder.take(block, block); time.sleep(0.005)"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    end = time.monotonic() + 60
    while len(files := list(tmp_path.iterdir())) < 2 or min(path.stat().st_size for path in files) < 100_000:
        assert time.monotonic() < end, "nothing is being written"
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
    process.wait()
    process.stdout.close()
    found = sorted(tmp_path.iterdir())
    assert len(found) == 2
    for path in found:
        info = soundfile.info(path)
        assert info.frames > 9600
        assert abs(80 + 4 * info.frames - path.stat().st_size) <= 4 * 48000
        np.testing.assert_array_equal(soundfile.read(path)[0], 0.5)
