"""What `altervox doctor FILE` says about an audio file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...kernels.errors import AudioFileError
from ..convert.reader import open_audio
from ..convert.source import bounded
from .check import Check


def audio_checks(path: Path) -> Iterator[Check]:
    """Format, length, integrity and level of an audio file."""
    frames = not_finite = clipped = 0
    peak = 0.0
    try:
        with open_audio(path, is_quiet=True) as source:
            yield Check(
                "format",
                "ok",
                f"{source.container}, {source.encoding}, {source.sample_rate} Hz, {source.channels} "
                f"channel{'s' if source.channels > 1 else ''}",
            )
            for block in bounded(source):
                good = np.isfinite(block)
                not_finite += int((~good).sum())
                size = np.abs(block[good])
                peak = max(peak, float(size.max(initial=0.0)))
                clipped += int((size >= 0.9999).sum())
                frames += len(block)
            rate, missing_s = source.sample_rate, source.missing_s(frames)
            if source.warnings:
                yield Check("reading", "warning", "; ".join(source.warnings), "export or download it again")
    except AudioFileError as error:
        is_there = path.exists()
        remedy = "try to open it in a player; export it again as WAV" if is_there else "give the path of a file"
        yield Check("audio", "error", str(error), remedy)
        return
    if frames == 0:
        yield Check("length", "error", "0 samples", "record it again")
        return
    seconds = frames / rate
    yield Check("length", "ok", f"{seconds:.3f} s, {frames} samples")
    if missing_s:
        yield Check("integrity", "warning", f"cut short by {missing_s:.2f} s", "copy or download it again")
    elif not_finite:
        yield Check("integrity", "error", f"{not_finite} samples are NaN or infinite", "convert it with --repair")
    else:
        yield Check("integrity", "ok", "read to the end")
    if peak == 0.0:
        yield Check("level", "warning", "digital silence", "check that the right track was exported")
    elif clipped > frames // 1000:
        yield Check("level", "warning", f"clipped: {clipped} samples at full scale", "record with less gain")
    else:
        yield Check("level", "ok", f"peak {20 * np.log10(peak):.1f} dB of full scale")
