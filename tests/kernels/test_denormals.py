"""Denormal numbers are flushed in the thread that asks for it, and in no other."""

import threading

import numpy as np
from altervox.kernels.denormals import flush_denormals
from altervox.kernels.gain import GainState, gain_into


def products() -> list[float]:
    """A denormal product by NumPy, and one by a compiled kernel."""
    x, out = np.full(64, 1e-30, dtype=np.float32), np.zeros(64, dtype=np.float32)
    gain = GainState()
    gain.reset(1e-10)
    gain_into(x, gain, out)
    return [float((x * np.float32(1e-10))[0]), float(out[0])]


def in_a_thread(flushing: bool) -> list[float]:
    found: list[float] = []

    def work() -> None:
        if flushing:
            assert flush_denormals()
        found.extend(products())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found


def test_only_the_thread_that_asks_is_changed() -> None:
    assert 0.0 not in in_a_thread(flushing=False)
    assert in_a_thread(flushing=True) == [0.0, 0.0]
    assert 0.0 not in in_a_thread(flushing=False)
    assert 0.0 not in products()
