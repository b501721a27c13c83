"""Voices built beside a running session: the newest wish wins, whatever fails or takes long."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from altervox.kernels.errors import VoiceError
from altervox.realtime.session.voice_change import VoiceChange


class Studio:
    """Builds "engines" as slowly as it is told to."""

    def __init__(self) -> None:
        self.taken_over: list[str] = []
        self.slow_begun, self.go_on = threading.Event(), threading.Event()
        self.failure: Exception | None = None
        self.change = VoiceChange(self.build, lambda name, _: self.taken_over.append(name))

    def build(self, voice: str) -> Any:
        if voice == "slow":
            self.slow_begun.set()
            assert self.go_on.wait(60)
        if voice == "broken" and self.failure is not None:
            raise self.failure
        return object()

    def wait_until(self, taken_over: list[str]) -> None:
        end = time.monotonic() + 60
        while self.taken_over != taken_over or self.change._thread is not None:
            assert time.monotonic() < end, self.taken_over
            time.sleep(0.001)


def test_a_voice_that_was_slow_to_build_does_not_follow_the_one_wanted_after_it() -> None:
    studio = Studio()
    studio.change.want("slow")
    assert studio.slow_begun.wait(60)
    studio.change.want("passed over")
    studio.change.want("quick")
    studio.go_on.set()
    studio.wait_until(["quick"])


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (VoiceError("no voice"), "broken: no voice"),
        (RuntimeError("out of memory"), "broken: out of memory"),
        (OSError("disk"), "broken: disk"),
        (MemoryError(), "broken: MemoryError"),
    ],
)
def test_what_cannot_be_had_is_told_until_another_one_is_there(failure: Exception, told: str) -> None:
    studio = Studio()
    studio.failure = failure
    studio.change.want("broken")
    studio.wait_until([])
    assert studio.change.cause == told
    studio.change.want("quick")
    studio.wait_until(["quick"])
    assert studio.change.cause == ""
