"""The streaming benchmark runs and reports what it measured."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "altervox.tools", "bench", "stream", "--seconds", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_measures_an_rvc_voice_beside_the_reference_step() -> None:
    done = bench("--voice", "robot", "--voice", "rvc-v2-40k", "--block-ms", "240", "--context-ms", "200", "--json")
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["voice"] for row in rows] == ["robot", "rvc-v2-40k", "rvc-v2-40k (RVC's step)"]
    robot, ours, reference = rows
    assert robot["p50_ms"] <= robot["p95_ms"] <= robot["p99_ms"] <= robot["max_ms"]
    assert robot["gflop_per_second"] == 0.0
    assert min(ours["part_mean_ms"].values()) > 0.0
    assert 0 < ours["gflop_per_second"] < reference["gflop_per_second"]
    assert ours["latency_ms"]["total"] == pytest.approx(240 + 60, abs=10)


@pytest.mark.parametrize("bad", [("--voice", "nobody"), ("--block-ms", "30", "--voice", "robot"), ("--seconds", "0")])
def test_wrong_usage_is_one_sentence(bad: tuple[str, str]) -> None:
    done = bench(*bad)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
