"""What a stream loses against the whole signal, by lookahead and by context, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from ....kernels.errors import AudioFileError
from ....kernels.types import FloatArray
from ...convert.reader import open_audio

PARTS = ("dsp", "generator", "pitch", "content")
LOOKAHEADS_MS = (40, 60, 80, 100, 150, 200, 400)
_BLOCK_MS = 20


def bench_accuracy(recording: Path, parts: Sequence[str], plots: Path | None) -> int:
    """Print the Markdown tables for a recording of speech.

    Args:
        recording: An audio file.
        parts: Which of `PARTS`.
        plots: Folder for figures of what is printed; None for none.

    Returns:
        The exit code.
    """
    from ....models.resample import resampled
    from ....realtime.config import StreamConfig
    from . import plots as accuracy_plots

    if plots is not None:
        accuracy_plots.prepare(plots)
    with open_audio(recording) as source:
        blocks = list(source.blocks())
        rate = source.sample_rate
    speech = {to: np.concatenate(list(resampled(blocks, rate, to))) for to in (16000, 24000)}
    if {"pitch", "content"} & set(parts):
        _refuse_short(recording, speech[16000])
    click.echo(f"{recording.name}, {len(speech[24000]) / 24000:.1f} s, blocks of {_BLOCK_MS} ms unless said\n")
    drawn = []
    if "dsp" in parts:
        _dsp_f0(speech[24000])
    if "generator" in parts:
        errors = _generator()
        if plots is not None:
            drawn.append(accuracy_plots.plot_generator(errors, StreamConfig().lookahead_ms, plots))
    if {"pitch", "content"} & set(parts):
        drawn += _windows(speech[16000], parts, plots)
    for path in drawn:
        click.echo(f"drew {path}")
    return 0


def _refuse_short(recording: Path, speech_16k: FloatArray) -> None:
    from .windows import LEAST_SECONDS

    seconds = len(speech_16k) / 16000
    if seconds < LEAST_SECONDS:
        raise AudioFileError(
            f"{recording} lasts {seconds:.1f} s; the parts pitch and content need {LEAST_SECONDS:g} s or more"
        )


def _windows(speech_16k: FloatArray, parts: Sequence[str], plots: Path | None) -> list[Path]:
    """The tables of pitch network and content window. Returns the figures drawn."""
    from . import plots as accuracy_plots
    from .windows import MOST_SECONDS, content_table, pitch_table, random_hubert, random_rmvpe, random_voice

    speech_16k, drawn = speech_16k[: round(16000 * MOST_SECONDS)], []
    rmvpe = random_rmvpe(speech_16k)
    if "pitch" in parts:
        pitch_rows = pitch_table(speech_16k, rmvpe)
        if plots is not None:
            drawn.append(accuracy_plots.plot_pitch(pitch_rows, plots))
    if "content" in parts:
        content_rows = content_table(speech_16k, random_voice(), random_hubert(), rmvpe)
        if plots is not None:
            drawn.append(accuracy_plots.plot_content(content_rows, plots))
    return drawn


def _dsp_f0(audio: FloatArray) -> None:
    """F0 and voicing of the DSP stage, by the network that ships, against the same network over the whole."""
    import torch

    from ....kernels.world import HOP, analyse
    from ....models.base_models import small_pitch_network
    from ....models.dsp.presets import DspPreset
    from ....realtime.config import StreamConfig
    from ....realtime.stages.dsp import DspStage
    from .whole import dsp_f0

    model = small_pitch_network(torch.device("cpu"))
    whole = analyse(audio, dsp_f0(model, audio), 0).f0_hz
    size = _BLOCK_MS // 5 * HOP
    click.echo("| DSP lookahead ms | voiced missed % | voiced wrongly % | cents p50 | cents p95 | over 50 cents % |")
    click.echo("| --- | --- | --- | --- | --- | --- |")
    for right_frames in (0, 1, 2, 4, 8):
        stage = DspStage(DspPreset(), StreamConfig(block_ms=_BLOCK_MS), pitch_right_frames=right_frames)
        blocks = [stage.take(audio[i : i + size]).copy() for i in range(0, len(audio) - size + 1, size)]
        got = analyse(audio, np.concatenate(blocks)[stage.lookahead_frames :], 0).f0_hz
        want = whole[: len(got)]
        both = (got > 0) & (want > 0)
        cents = np.abs(1200 * np.log2(got[both] / want[both]))
        missed, wrong = np.mean((got == 0) & (want > 0)), np.mean((got > 0) & (want == 0))
        p50, p95 = np.percentile(cents, (50, 95))
        shares = f"{100 * missed:.1f} | {100 * wrong:.1f} | {p50:.1f} | {p95:.1f} | {100 * np.mean(cents > 50):.1f}"
        click.echo(f"| {5 * stage.lookahead_frames} | {shares} |")
    click.echo()


def _generator() -> list[tuple[int, float]]:
    """Flow and decoder of a full-size RVC voice with random weights, given prior and F0, against the plain networks.

    Returns:
        Lookahead in ms and relative RMS error.
    """
    import torch

    from ....models.rvc.prior import HIDDEN
    from ....models.rvc.synthesizer import Synthesizer
    from ....realtime.stages.features import CONTENT_WAIT_FRAMES
    from ....realtime.stages.waveform import StreamingGenerator
    from ..synthetic import RVC_KINDS
    from .whole import latent, render

    width, shape = RVC_KINDS["rvc-v2-40k"]
    torch.manual_seed(0)
    net = Synthesizer(shape, width, speakers=1, has_f0=True)
    frames, per_frame, block = 160, shape.samples_per_frame, _BLOCK_MS // 10
    measured = slice(48 * per_frame, 84 * per_frame)  # away from the start, and 76 frames before the end
    m, logs = torch.randn(1, HIDDEN, frames) * 0.5, torch.randn(1, HIDDEN, frames) * 0.2 - 1.0
    f0 = (150 + 40 * np.sin(np.arange(frames) / 9)).astype(np.float32)
    with torch.inference_mode():
        for weight in net.parameters():  # to a gain of one per layer: smaller, and distant frames would not matter
            if weight.ndim > 1:
                weight.mul_(3.0**0.5)
        g = net.emb_g(torch.tensor([0]))[..., None]
        whole = render(net, latent(net, m, logs, g, 0, 0), g, f0, 0, 0.0, 0.0, 0)
        click.echo("| RVC lookahead ms | flow and decoder: relative RMS error |")
        click.echo("| --- | --- |")
        rows = []
        for lookahead_ms in LOOKAHEADS_MS:
            right = lookahead_ms // 10 - CONTENT_WAIT_FRAMES
            generator = StreamingGenerator(net, block, right, tail_frames=0)
            wav = np.zeros((measured.stop // per_frame, block * per_frame), dtype=np.float32)
            for i, start in enumerate(range(0, measured.stop // per_frame, block)):
                seen = slice(start, start + block + right)
                generator.step(m[..., seen], logs[..., seen], f0[seen], 0, start, 0.0, 0, wav[i])
            error = wav.reshape(-1)[measured] - whole[measured]
            rows.append((lookahead_ms, float(np.sqrt(np.sum(error**2) / np.sum(whole[measured] ** 2)))))
            click.echo(f"| {lookahead_ms} | {rows[-1][1]:.1e} |")
    click.echo()
    return rows
