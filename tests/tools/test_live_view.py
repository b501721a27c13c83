"""The terminal view says where the devices' delay comes from."""

from __future__ import annotations

import io

import pytest
from altervox.realtime.live.status import LiveStatus
from altervox.tools.live_view import live_view
from rich.console import Console


@pytest.mark.parametrize(
    ("is_measured", "said"),
    [
        (0, "112 ms = device in 20 + block 40 + voice 2 + resamplers 0 + prefill 30 + device out 20"),
        (1, "112 ms = devices, measured 40 + block 40 + voice 2 + resamplers 0 + prefill 30"),
    ],
)
def test_a_measured_delay_takes_the_place_of_what_is_reported(is_measured: int, said: str) -> None:
    status = LiveStatus.create()
    try:
        status.put(device_in_ms=20.0, device_out_ms=20.0, device_ms=40.0, device_delay_is_measured=is_measured)
        status.put(block_ms=40.0, engine_ms=2.0, prefill_ms=30.0, total_ms=112.0)
        shown = io.StringIO()
        Console(file=shown, width=140).print(live_view(status.read(), 0.0, 0.0))
    finally:
        status.close(unlink=True)
    assert said in " ".join(shown.getvalue().replace("│", " ").split())
    assert ("device in" in shown.getvalue()) is not bool(is_measured)
