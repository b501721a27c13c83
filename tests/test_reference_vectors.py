"""Every network and formula against outputs of the projects that define the formats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference_vectors as vectors

CASES = vectors.cases()


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_matches_the_reference(case: dict[str, Any]) -> None:
    assert not vectors.failures(*vectors.compute(vectors.PUBLIC, case))


@pytest.mark.parametrize("case", [c for c in CASES if c["kind"] == "content"], ids=lambda case: case["name"])
def test_the_transformers_layout_is_the_same_network(case: dict[str, Any]) -> None:
    assert not vectors.failures(*vectors.compute(vectors.PUBLIC, case, layout="transformers"))


def test_the_comparison_can_fail() -> None:
    expected = {"wav": np.ones(8)}
    assert not vectors.failures(expected, {"wav": np.ones(8)})
    assert vectors.failures(expected, {"wav": np.ones(8) + 1e-3})
    assert vectors.failures(expected, {"wav": np.full(8, np.nan)})
    assert vectors.failures(expected, {"wav": np.ones(9)})
    assert vectors.failures({}, {})


def test_the_mel_basis_is_the_reference_basis() -> None:
    from altervox.models.pitch.mel import mel_filterbank

    with np.load(vectors.PUBLIC / "vectors/mel_basis.npz") as stored:
        (basis,) = (stored[name] for name in stored.files)
    np.testing.assert_allclose(mel_filterbank().numpy(), basis, atol=1e-7)
