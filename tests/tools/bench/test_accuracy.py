"""The accuracy tables: they come out, more lookahead and more context cost less, and figures are whole PNG files."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import made_up_voice
import numpy as np
import pytest
import soundfile
import torch
from altervox.kernels.errors import OutputError
from altervox.kernels.extras import how_to_install
from altervox.models.rvc.content import Hubert
from altervox.tools.bench import synthetic
from altervox.tools.bench.accuracy import command as accuracy_command
from altervox.tools.bench.accuracy import plots as accuracy_plots
from altervox.tools.bench.accuracy import windows as accuracy_windows
from altervox.tools.bench.accuracy.windows import ContentRow, PitchRow
from cli_runner import MALE, altervox, altervox_process
from numpy.typing import NDArray

MODULE = "altervox.tools.bench.accuracy"


def table(text: str) -> list[list[float]]:
    """Rows of numbers of the Markdown tables in it."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "|" in line]
    return [[float(cell) for cell in row] for row in rows if row[0].isdigit()]


@pytest.fixture(scope="module")
def speech() -> NDArray[np.float32]:
    samples: NDArray[np.float32] = soundfile.read(MALE, dtype="float32")[0]
    return samples


def assert_whole_png(path: Path) -> None:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n")
    assert content.endswith(b"IEND\xaeB`\x82")


def test_dsp_gains_by_lookahead() -> None:
    done = altervox(MALE, "--part", "dsp", module=MODULE)
    assert done.code == 0, done.err
    rows = table(done.out)
    assert [row[0] for row in rows] == [30, 40, 50, 70, 110]
    assert rows[-1][2] < rows[0][2], "voiced wrongly"
    assert rows[-1][4] < rows[0][4], "cents, 95th percentile"
    assert all(row[3] < 5 for row in rows), "median error in cents"


def test_generator_gains_by_lookahead_and_is_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy_command, "LOOKAHEADS_MS", (40, 100, 400))
    width, shape = synthetic.RVC_KINDS["rvc-v2-40k"]
    monkeypatch.setitem(synthetic.RVC_KINDS, "rvc-v2-40k", (width, replace(shape, initial_channels=64)))
    plots = tmp_path / "new" / "figures"
    assert accuracy_command.bench_accuracy(MALE, ("generator",), plots) == 0
    errors = [row[1] for row in table(capsys.readouterr().out)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-4 < errors[0]
    assert [path.name for path in plots.iterdir()] == [accuracy_plots.GENERATOR_PLOT]
    assert_whole_png(plots / accuracy_plots.GENERATOR_PLOT)


def test_pitch_gains_by_lookahead_and_by_the_carried_state(
    speech: NDArray[np.float32], capsys: pytest.CaptureFixture[str]
) -> None:
    rows = accuracy_windows.pitch_table(speech, made_up_voice.rmvpe(), rights=(0, 8))
    assert [(row.window_frames, row.lookahead_ms) for row in rows] == [(64, 30), (64, 110), (128, 30), (128, 110)]
    for near, far in (rows[:2], rows[2:]):
        assert far.carried[0] < near.carried[0]
        assert far.carried[1] < near.carried[1]
    assert all(row.carried[0] < row.zeroed[0] for row in rows)
    out = capsys.readouterr().out
    assert "RANDOM weights" in out
    assert [row[:2] for row in table(out)] == [[64, 30], [64, 110], [128, 30], [128, 110]]


def test_content_gains_by_context_and_pays_for_it(
    speech: NDArray[np.float32], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy_windows, "Hubert", partial(Hubert, layers=4))
    networks = made_up_voice.voice(), accuracy_windows.random_hubert(), made_up_voice.rmvpe()
    short, long = accuracy_windows.content_table(speech[16000:48000], *networks, contexts_ms=(200, 1000))
    assert 0 < long.convolutions < short.convolutions
    assert 0 < long.features < short.features
    assert 0 < long.prior < short.prior
    for block_ms in (20, 100):
        assert long.gflop_per_second[block_ms] > short.gflop_per_second[block_ms]
    assert short.gflop_per_second[20] > short.gflop_per_second[100]
    out = capsys.readouterr().out
    assert "RANDOM weights" in out
    assert [row[0] for row in table(out)] == [200, 1000]


def test_a_window_that_is_the_whole_costs_nothing(speech: NDArray[np.float32]) -> None:
    """The frames that are compared are the same ones: all error comes from what the window leaves out."""
    content, voice = accuracy_windows.random_hubert(), accuracy_windows.random_voice()
    context = 100
    whole = speech[: (context + 16) * 160]
    starts = range(context, context + 1, 10)
    assert max(accuracy_windows.content_errors(content, whole, context, starts)) < 1e-5
    with torch.inference_mode():
        features = content.features(torch.from_numpy(whole)[None], "v2")[0]
    pitch = torch.arange(2 * len(features)) % 200 + 1
    assert accuracy_windows.prior_error(voice.synthesizer.enc_p, features, pitch, context, starts) < 1e-5


def test_random_pitch_network_reacts_to_speech(speech: NDArray[np.float32]) -> None:
    """Neither saturated nor dead, or its errors would say nothing."""
    model = accuracy_windows.random_rmvpe(speech)
    with torch.inference_mode():
        salience = model.salience(model.mel(torch.from_numpy(speech)[None]))[0]
    assert 0.001 < salience.mean() < 0.1
    assert 0.1 < salience.max(dim=1).values.median() < 0.9


def test_figures_of_windows_are_drawn(tmp_path: Path) -> None:
    pitch = [PitchRow(w, ms, (3 / ms, 0.1 / ms), (6 / ms, 0.2 / ms)) for w in (64, 128) for ms in (30, 50, 70)]
    content = [ContentRow(ms, 0.2, 50 / ms, 20 / ms, {20: 2.0 * ms, 100: 0.4 * ms}) for ms in (200, 500, 1000)]
    drawn = [accuracy_plots.plot_pitch(pitch, tmp_path), accuracy_plots.plot_content(content, tmp_path)]
    assert sorted(tmp_path.iterdir()) == sorted(drawn)
    for path in drawn:
        assert_whole_png(path)


def test_a_figure_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    taken = tmp_path / accuracy_plots.GENERATOR_PLOT
    (taken / "inside").mkdir(parents=True)
    with pytest.raises(OutputError, match="cannot be written"):
        accuracy_plots.plot_generator([(40, 0.1), (60, 0.01)], 60, tmp_path)
    assert list(tmp_path.iterdir()) == [taken]


def test_a_missing_recording_is_one_sentence() -> None:
    done = altervox_process("nope.wav", module=MODULE)
    assert done.code == 1
    assert done.err == "altervox: nope.wav does not exist; check the name\n"


def test_a_short_recording_is_refused_before_any_table(tmp_path: Path, speech: NDArray[np.float32]) -> None:
    short = tmp_path / "short.wav"
    soundfile.write(short, speech[:24000], 16000)
    done = altervox(short, module=MODULE)
    assert (done.code, done.out) == (1, "")
    assert done.err == f"altervox: {short} lasts 1.5 s; the parts pitch and content need 3 s or more\n"


def test_missing_matplotlib_is_one_sentence_before_any_table(tmp_path: Path) -> None:
    package = tmp_path / "path" / "matplotlib"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('not here')\n")
    environment = {"PYTHONPATH": os.pathsep.join([str(package.parent), os.environ.get("PYTHONPATH", "")])}
    done = altervox_process(MALE, "--plots", tmp_path / "figures", module=MODULE, env=environment)
    assert (done.code, done.out) == (1, "")
    expected = f"figures need matplotlib, which is not installed: {how_to_install('plots')}"
    assert done.err == f"altervox: {expected}\n"
    assert not (tmp_path / "figures").exists()
