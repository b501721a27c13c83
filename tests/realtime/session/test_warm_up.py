"""What a session needs is there before its devices open."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from altervox.realtime.synthetic import speech_like

# In a process of its own: in this one other tests have compiled what a session should have.
SCRIPT = """
import gc, json, sys
import numpy as np
from numba.core.registry import CPUDispatcher
from altervox.kernels.callbacks import capture_from, play_into
from altervox.realtime.audio.loop import LiveLoop
from altervox.realtime.audio.paths import InputPath, OutputPath
from altervox.realtime.session.settings import SessionSettings
from altervox.realtime.session.warm_up import warmed_up

processor, _ = warmed_up(SessionSettings(), 20)

def compiled():
    return {
        f"{d.py_func.__module__}.{d.py_func.__qualname__}": len(d.signatures)
        for d in gc.get_objects() if isinstance(d, CPUDispatcher) and "altervox" in d.py_func.__module__
    }

before = compiled()
output = OutputPath.allocate(48000, 48000, 20, 9.0, 30.0)
loop = LiveLoop(processor, InputPath.allocate(48000, 48000, 20), [output])
speech = np.load(sys.argv[1])
out = np.zeros((480, 2), dtype=np.float32)
heard = 0.0
for k in range(len(speech) // 480):
    now = k * 0.01
    capture_from(loop.source.capture, speech[480 * k : 480 * (k + 1), None])
    loop.source.clock.tick(now, 480)
    output.clock.tick(now, 480)
    play_into(output.playout, out)
    heard = max(heard, float(abs(out).max()))
    loop.step(now)
after = compiled()
late = [name for name in after if after[name] != before.get(name, 0)]
print(json.dumps({"heard": heard, "kernels": len(before), "late": late}))
"""


def test_nothing_is_compiled_once_devices_are_open(tmp_path: Path) -> None:
    speech = speech_like(3.0, 48000)
    np.save(tmp_path / "speech.npy", speech)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "speech.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["heard"] > 0.01
    assert told["kernels"] > 10
    assert told["late"] == []


@pytest.mark.parametrize("rate", [16000, 44100, 48000])
def test_the_warm_up_has_voice_and_breath(rate: int) -> None:
    samples = speech_like(1.0, rate)
    assert samples.shape == (rate,)
    assert samples.dtype == np.float32
    level = np.abs(samples[: rate // 100 * 100]).reshape(100, -1).max(axis=1)
    assert level.min() < 0.06
    assert 0.15 < level.max() < 1.0
