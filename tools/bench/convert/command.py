"""Speed and memory of file conversion on the machine at hand.

Every voice is converted in a process of its own, so that its peak memory is its own too. RVC voices and base models
are written for the purpose: full-size files in the published formats with random weights, which cost as much as real
ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

from ....kernels.errors import ParameterError
from ...machine import machine

_CHILD = "import sys; from altervox.tools.bench.convert.command import measure; measure(*sys.argv[1:])"


def bench_convert(seconds: float, names: list[str], device: str, backend: str, as_json: bool) -> int:
    """Run the benchmark over the voices named, all of them if none is. Returns the exit code."""
    from ....models.dsp.presets import DSP_VOICES
    from ..synthetic import RVC_KINDS, write_base_models, write_voice

    known = [*DSP_VOICES, *RVC_KINDS]
    chosen = names or [*(n for n in DSP_VOICES if n != "off"), "rvc-v1-40k", "rvc-v2-40k", "rvc-v2-48k"]
    for name in chosen:
        if name not in known:
            raise ParameterError(f"there is no bench voice {name!r}; choose from {', '.join(known)}")
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="altervox-bench-") as scratch:
        home = Path(scratch)
        if any(name in RVC_KINDS for name in chosen):
            write_base_models(home / "base")
        if not as_json:
            click.echo(f"{machine(device)}, {seconds:g} s of audio at 16 kHz")
            click.echo(f"{'voice':<14}{'real-time factor':>18}{'x real time':>13}{'peak MiB':>10}{'loaded MiB':>12}")
        for name in chosen:
            voice = write_voice(home, name) if name in RVC_KINDS else name
            row = {"voice": name, **_measured(home, str(voice), seconds, device, backend)}
            rows.append(row)
            if not as_json:
                speed = f"{row['rtf']:>18.3f}{1 / row['rtf']:>13.1f}"
                click.echo(f"{name:<14}{speed}{row['peak_mib']:>10.0f}{row['loaded_mib']:>12.0f}")
    if as_json:
        click.echo(json.dumps({"machine": machine(device), "seconds": seconds, "voices": rows}, indent=1))
    return 0


def _measured(home: Path, voice: str, seconds: float, device: str, backend: str) -> dict[str, Any]:
    environment = {**os.environ, "ALTERVOX_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", _CHILD, voice, str(seconds), device, backend]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"the measuring process failed: {done.stderr.strip().splitlines()[-1:]}")
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


def measure(voice_name: str, seconds: str, device: str, backend: str) -> None:
    """Convert synthetic speech once to warm up and once to measure; print the result as JSON."""
    import time
    from dataclasses import replace

    import numpy as np

    from ....models.library import load_voice
    from ....realtime.files import OFFLINE, convert_stream
    from ....realtime.synthetic import speech_like
    from ...machine import peak_mib

    rate = 16000
    audio, config = speech_like(float(seconds), rate), replace(OFFLINE, backend=backend)
    voice = load_voice(voice_name, device)
    for _ in convert_stream(voice, [audio[:rate]], rate, config=config):
        pass
    loaded = peak_mib()
    started = time.perf_counter()
    for block in convert_stream(voice, np.array_split(audio, max(int(float(seconds)), 1)), rate, config=config):
        assert np.isfinite(block).all()
    rtf = (time.perf_counter() - started) / float(seconds)
    print(json.dumps({"rtf": round(rtf, 4), "loaded_mib": loaded, "peak_mib": peak_mib()}))
