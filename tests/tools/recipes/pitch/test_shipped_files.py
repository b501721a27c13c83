"""What ships: the weights, the graph beside them, and where voicing is decided."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from altervox.kernels.errors import CheckpointError
from altervox.kernels.salience import VOICING_THRESHOLD
from altervox.models.checkpoint import read_state
from altervox.models.pitch.rmvpe import RMVPE
from altervox.tools.recipes.pitch import packaging
from altervox.tools.recipes.pitch.corpus import Clip
from altervox.tools.recipes.pitch.training import NETWORK


def run_state(folder: Path) -> Path:
    torch.manual_seed(3)
    model = RMVPE(**NETWORK)
    path = folder / "state.pt"
    torch.save({"config": {"steps": 7}, "step": 7, "averaged": model.state_dict()}, path)
    return path


def clips_by(model: RMVPE, offset: float) -> list[Clip]:
    """Noise that is voiced where a network, its logits moved by an offset, says so."""
    rng, clips = np.random.default_rng(0), []
    for k in range(3):
        audio = (rng.standard_normal(16000) * rng.uniform(0.01, 0.3, 100).repeat(160)).astype(np.float32)
        top = model.salience(model.mel(torch.from_numpy(audio)[None]))[0].amax(dim=1).numpy()
        voiced = np.log(top / (1 - top)) > np.log(VOICING_THRESHOLD / (1 - VOICING_THRESHOLD)) + offset
        f0 = np.where(voiced, 200.0, 0.0).astype(np.float32)
        clips.append(Clip(f"c{k}", audio, f0, np.ones(len(f0), dtype=bool), "noise", "world"))
    return clips


def test_the_shift_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging, "add_noise", lambda audio, noise, snr_db: audio)
    monkeypatch.setattr(packaging, "mostly_voiced", lambda clips: clips)
    torch.manual_seed(3)
    model = RMVPE(**NETWORK)
    top = model.salience(model.mel(torch.from_numpy(clips_by(model, 0.0)[0].audio)[None]))[0].amax(dim=1)
    middle = float(torch.logit(top).median()) - float(torch.logit(torch.tensor(VOICING_THRESHOLD)))
    wanted = middle if abs(middle) < 4.0 else 0.0
    assert packaging.voicing_shift(model, clips_by(model, wanted)) == pytest.approx(wanted, abs=0.15)


def test_what_is_written_loads_and_belongs_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging, "voicing_shift", lambda model, clips: 0.75)
    facts = packaging.package(run_state(tmp_path), [], tmp_path / "data")
    assert facts["shift"] == 0.75
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [packaging.GRAPH, packaging.WEIGHTS]
    assert (tmp_path / "data" / packaging.WEIGHTS).stat().st_size < 4_000_000
    model = RMVPE.from_state(read_state(tmp_path / "data" / packaging.WEIGHTS, "unet.", "RMVPE"))
    torch.manual_seed(3)
    plain = RMVPE(**NETWORK)
    mel = torch.randn(1, 128, 64)
    before, after = plain.salience(mel), model.salience(mel)
    torch.testing.assert_close(torch.logit(after), torch.logit(before) - 0.75, atol=1e-3, rtol=1e-3)
    session = onnxruntime.InferenceSession(str(tmp_path / "data" / packaging.GRAPH))
    salience, _ = session.run(
        None,
        {
            "mel": mel.numpy(),
            "rows": np.arange(64)[None],
            "last_row": np.array([[63]]),
            "h_in": np.zeros((1, 96), dtype=np.float32),
        },
    )
    np.testing.assert_allclose(salience, after.numpy(), atol=1e-5)


def test_a_run_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state\.pt does not exist: train first"):
        packaging.package(tmp_path / "state.pt", [], tmp_path)
