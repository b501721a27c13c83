"""The table of backends: ratios to torch in the same run, errors against it, and failures as rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from altervox.tools.bench import backends


def test_rows_compare_with_torch_and_show_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: Sequence[str], limit_s: float) -> dict[str, Any] | str:
        voice, backend, lengths, target = command[-4:]
        assert (voice == str(tmp_path)) == backend.startswith("onnx")
        assert '"block_ms": 100' in lengths
        if backend == "onnx-broken":
            return "crashed (signal 6)"
        np.save(target, np.full((40, 8), 1.0 if backend != "onnx" else 1.001, dtype=np.float32))
        return {"p50_ms": 40.0 if backend != "onnx" else 20.0, "p99_ms": 50.0, "cpu_p50_ms": 39.0, "startup_s": 1.0} | {
            "peak_mib": 500.0
        }

    monkeypatch.setattr("altervox.realtime.runners.trial.run_apart", run)
    monkeypatch.setattr(
        "altervox.realtime.runners.trial.onnx_providers",
        lambda: ["BrokenExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"],
    )
    (tmp_path / "content.onnx").write_bytes(bytes(2_000_000))
    rows = list(backends._rows("alice", tmp_path, 100, 1000))
    assert [row["backend"] for row in rows] == ["torch eager", "torch auto", "onnx-broken", "onnx"]
    assert rows[2]["failure"] == "crashed (signal 6)"
    assert rows[3]["of_torch"] == 0.5
    assert rows[3]["disk_mb"] == 2.0
    assert rows[3]["error"] == pytest.approx(1e-3, rel=0.01)
    lines = [backends._line(row) for row in rows]
    assert "crashed (signal 6)" in lines[2]
    assert len({len(line) for line in (lines[0], lines[1], lines[3])}) == 1
