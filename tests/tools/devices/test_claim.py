"""One session per output, where the file system can tell."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from altervox.kernels.errors import AudioDeviceError
from altervox.tools.devices.claim import claimed
from made_up_device import made_up_device

pytestmark = pytest.mark.linux


@pytest.fixture(autouse=True)
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platformdirs, "user_runtime_path", lambda *a, **k: tmp_path)


def failing(number: int) -> Callable[..., Any]:
    def flock(*arguments: object) -> None:
        raise OSError(number, "made up")

    return flock


def test_a_second_session_is_refused_until_the_first_ends() -> None:
    output = made_up_device("speakers")
    with claimed(output), pytest.raises(AudioDeviceError, match="already plays into 'speakers'"), claimed(output):
        pass
    with claimed(output):
        pass


@pytest.mark.parametrize("number", [errno.EAGAIN, errno.EACCES])
def test_a_lock_that_is_taken_refuses(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", failing(number))
    with pytest.raises(AudioDeviceError), claimed(made_up_device("speakers")):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.EINVAL])
def test_a_file_system_without_locks_refuses_nobody(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.flock", failing(number))
    with claimed(made_up_device("speakers")):
        pass
