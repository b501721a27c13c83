"""The streaming benchmark runs and reports what it measured."""

from __future__ import annotations

from pathlib import Path

import made_up_voice
import pytest
import torch
from altervox.tools.bench import stream, synthetic
from cli_runner import Outcome, altervox


def bench(*arguments: str) -> Outcome:
    return altervox("bench", "stream", "--seconds", "1", *arguments)


def write_narrow_voice(folder: Path, kind: str) -> Path:
    torch.save(made_up_voice.payload(), folder / f"{kind}.pth")
    return folder / f"{kind}.pth"


def test_it_measures_an_rvc_voice_beside_the_reference_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(synthetic, "write_voice", write_narrow_voice)
    monkeypatch.setattr(synthetic, "write_base_models", made_up_voice.write_base_models)
    done = bench("--voice", "robot", "--voice", "rvc-v2-40k", "--block-ms", "240", "--context-ms", "200", "--json")
    assert done.code == 0, done.err
    rows = done.json["rows"]
    assert [row["voice"] for row in rows] == ["robot", "rvc-v2-40k", "rvc-v2-40k (RVC's step)"]
    robot, ours, reference = rows
    assert robot["p50_ms"] <= robot["p95_ms"] <= robot["p99_ms"] <= robot["max_ms"]
    assert robot["gflop_per_second"] == 0.0
    assert min(ours["part_mean_ms"].values()) > 0.0
    assert 0 < ours["gflop_per_second"] < reference["gflop_per_second"]
    assert ours["latency_ms"]["total"] == pytest.approx(240 + 60, abs=10)


def test_an_exported_voice_has_its_own_lengths() -> None:
    bound = {"block_ms": 40, "context_ms": 200, "lookahead_ms": 60, "crossfade_ms": 10}
    given = {"backend": "onnx", "threads": 2}
    (config,) = stream.configs(bound, [], stream.BLOCKS_MS, given)
    assert (config.block_ms, config.context_ms, config.backend, config.threads) == (40, 200, "onnx", 2)
    assert [config.block_ms for config in stream.configs({}, [], stream.BLOCKS_MS, given)] == list(stream.BLOCKS_MS)
    assert [config.block_ms for config in stream.configs(bound, [100], stream.BLOCKS_MS, given)] == [100]


@pytest.mark.parametrize("command", ["convert", "live", "serve", "bench stream", "bench live", "bench serve"])
def test_every_command_that_runs_a_voice_takes_a_backend(command: str) -> None:
    assert "--backend" in altervox(*command.split(), "--help").out


@pytest.mark.parametrize("command", ["stream", "live", "serve"])
def test_an_unknown_backend_is_one_sentence(command: str) -> None:
    done = altervox("bench", command, "--backend", "magic")
    assert done.code == 2
    assert len(done.complaints) == 1
    assert "backend is 'magic'; it must be one of auto, eager" in done.complaints[0]


def test_a_backend_reaches_the_networks() -> None:
    done = bench("--voice", "woman", "--block-ms", "100", "--backend", "onnx-nosuch")
    assert done.code == 2
    assert "backend onnx-nosuch is not in the ONNX Runtime installed" in done.err


@pytest.mark.parametrize("bad", [("--voice", "nobody"), ("--block-ms", "30", "--voice", "robot"), ("--seconds", "0")])
def test_wrong_usage_is_one_sentence(bad: tuple[str, str]) -> None:
    done = bench(*bad)
    assert done.code == 2
    assert "Traceback" not in done.err
