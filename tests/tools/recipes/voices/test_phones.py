"""Phones of a recording that says front, centre, side, left, rear, right."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import soundfile
import soxr
from altervox.tools.recipes.voices.phones import FRAME, KINDS, phones_in
from cli_runner import FEMALE


def test_phones_are_near_where_they_are_said_in_whatever_piece() -> None:
    audio, rate = soundfile.read(FEMALE, dtype="float32")
    audio = soxr.resample(audio, rate, 16000)
    before = 230  # frames: the piece ends within a word
    phones = phones_in(np.concatenate((np.zeros(before * FRAME, dtype=np.float32), audio)))
    np.testing.assert_allclose(phones.sum(axis=1), 1.0, atol=1e-5)
    likeliest = phones.argmax(axis=1)
    assert (likeliest[:before] == KINDS - 1).all()
    said = [kind for kind, _ in groupby(likeliest[likeliest < KINDS - 1])]
    front, side, left, right = said[:5], said[-12:-9], said[-9:-5], said[-3:]
    assert len({front[4], left[3], right[2]}) == 1  # t
    assert front[1] == right[0]  # r
    assert side[1] == right[1]  # ai
    assert front[0] == left[2]  # f
