"""The stored reference vectors: what they hold, and how near an implementation must come.

    python tests/reference_vectors.py [FOLDER]

runs all of them. The expected outputs were computed by the networks of RVC, fairseq, transformers and RMVPE with
weights from `tests/weights.py`.
"""

from __future__ import annotations

import json
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import reference_adapter as adapter
import weights
from numpy.typing import NDArray

Array = NDArray[Any]
PUBLIC = Path(__file__).parents[1] / "data" / "reference"

# Largest absolute error, largest RMS error relative to the RMS expected. Two independent implementations agree to
# 3e-6, so these allow for other orders of summation and nothing else.
TOLERANCE: dict[str, tuple[float, float]] = {
    "m": (2e-4, 1e-4),
    "logs": (2e-4, 1e-4),
    "z": (5e-4, 1e-4),
    "har_source": (2e-4, 5e-4),
    "wav": (5e-4, 5e-4),
    "conv": (1e-3, 1e-4),
    "layer0": (1e-3, 1e-4),
    "layer9": (1e-3, 2e-4),
    "layer9_proj": (1e-3, 2e-4),
    "layer12": (1e-3, 2e-4),
    "mel": (1e-3, 1e-4),
    "salience": (5e-4, 1e-3),
    "f0": (1e-3, 1e-6),
    "coarse": (0.0, 0.0),
    "rewritten": (1e-6, 1e-6),
    "y": (1e-4, 1e-4),
    "offsets": (0.0, 0.0),
    "tails": (1e-5, 1e-5),
    "cache_pitch": (1.0, 1e-2),
    "cache_pitchf": (0.1, 5e-4),
}


def cases(folder: Path = PUBLIC) -> list[dict[str, Any]]:
    """The cases of a folder of vectors."""
    listed: list[dict[str, Any]] = json.loads((folder / "index.json").read_text())["cases"]
    return listed


@lru_cache(maxsize=4)
def state(folder: Path, manifest: str) -> dict[str, Array]:
    """Weights of a manifest; raises AssertionError if they differ from those that made the vectors."""
    described = json.loads((folder / manifest).read_text())
    seed = json.loads((folder / "index.json").read_text())["seed"]
    filled = weights.fill({k: v["shape"] for k, v in described["tensors"].items()}, seed)
    if described.get("stored_dtype") == "float16":
        filled = weights.half_rounded(filled)
    assert weights.digest(filled) == described["digest"], f"{manifest}: other weights than those of the reference"
    return filled


@lru_cache(maxsize=4)
def generator(folder: Path, manifest: str) -> Any:
    """The generator of a manifest."""
    described = json.loads((folder / manifest).read_text())
    return adapter.load_generator(state(folder, manifest), described["config"], described["version"], described["f0"])


@lru_cache(maxsize=2)
def content(folder: Path, manifest: str, layout: str) -> Any:
    """The content encoder of a manifest, its weights spelled as `layout` does."""
    spelled = state(folder, manifest)
    if layout == "transformers":
        rows = json.loads((PUBLIC / "manifests/content_key_map.json").read_text())
        spelled = {row["transformers"]: spelled[row["fairseq"]] for row in rows if row["transformers"]}
    return adapter.load_content_encoder(spelled, layout)


@lru_cache(maxsize=1)
def rmvpe(folder: Path, manifest: str) -> Any:
    """The pitch network of a manifest."""
    return adapter.load_rmvpe(state(folder, manifest))


def compute(folder: Path, case: dict[str, Any], layout: str = "fairseq") -> tuple[dict[str, Array], dict[str, Array]]:
    """Expected and computed outputs of a case, by name."""
    with np.load(folder / case["file"]) as stored:
        v = {name: stored[name] for name in stored.files}
    f = {name: x.astype(np.float32) for name, x in v.items()}
    wav = f.get("pcm", np.zeros(0, dtype=np.float32)) / 32768
    match case["kind"]:
        case "generator":
            window = [case[name] for name in ("skip_head", "return_length", "return_length2")]
            pitch = v["pitch"].astype(np.int64) if "pitch" in v else None
            inputs = (f["phone"], pitch, v.get("pitchf"), case["sid"], f["noise_z"], f.get("noise_src"), *window)
            got = adapter.generator_infer(generator(folder, case["manifest"]), *inputs)
        case "content":
            model = content(folder, case["manifest"], layout)
            got = adapter.content_stages(model, wav)
            got = {name: x[:, : v[name].shape[1]] for name, x in got.items() if name in v}
            got["layer9_proj"] = adapter.content_features(model, wav, 9, True)
            got["layer12"] = adapter.content_features(model, wav, 12, False)
        case "rmvpe":
            model = rmvpe(folder, case["manifest"])
            mel = adapter.rmvpe_mel(model, wav)
            salience = adapter.rmvpe_salience(model, mel)
            got = {"mel": mel, "salience": salience, "f0": adapter.rmvpe_decode(salience, 0.03)}
        case "decode":
            got = {"f0": adapter.rmvpe_decode(v["salience"], case["threshold"])}
        case "coarse":
            got = {"coarse": adapter.coarse_pitch(v["f0"])}
        case "gate":
            blocks = np.split(v["x"], len(v["x"]) // case["block"])
            got = {"rewritten": np.stack(adapter.gate(blocks, case["zc"], case["threshold_db"]))}
        case "rms_mix":
            got = {"y": adapter.rms_mix(v["x_in"], v["x_out"], case["zc"], case["rate"])}
        case "rms_mix_offline":
            got = {"y": adapter.rms_mix_offline(f["x_in"], case["sr_in"], f["x_out"], case["sr_out"], case["rate"])}
        case "sola":
            offsets, y, tails = adapter.sola(list(v["x"]), case["block"], case["buffer"], case["search"])
            got = {"offsets": np.asarray(offsets), "y": np.stack(y), "tails": np.stack(tails)}
        case "retrieval":
            got = {"y": adapter.retrieval(v["bank"], v["query"], case["k"], case["rate"])}
        case "protect":
            got = {"y": adapter.protect(v["feats"], v["feats_raw"], v["pitchf"], case["protect"])}
        case "realtime_steps":
            models = (
                generator(folder, case["manifest"]),
                content(folder, case["content_manifest"], layout),
                rmvpe(folder, case["rmvpe_manifest"]),
            )
            got = adapter.realtime_steps(*models, case, wav, f["noise_z"], f["noise_src"])
        case kind:
            raise ValueError(f"unknown kind of case: {kind}")
    return {name: v[name] for name in got if name in v}, got


def failures(expected: dict[str, Array], got: dict[str, Array]) -> list[str]:
    """What lies outside the tolerance, one line for each output; empty when all agrees. Nothing to compare fails."""
    bad = [] if expected else ["nothing was compared"]
    for name, reference in expected.items():
        r, y = (np.asarray(x, dtype=np.float64) for x in (reference, got[name]))
        if r.size != y.size:
            bad.append(f"{name}: shape {y.shape}, expected {r.shape}")
            continue
        error = np.abs(y.reshape(r.shape) - r)
        relative = np.sqrt((error**2).mean()) / (np.sqrt((r**2).mean()) + 1e-12)
        largest, rms = TOLERANCE[name]
        if not (error.max() <= largest and relative <= rms):  # also when either is NaN
            bad.append(f"{name}: off by {error.max():.2e} (at most {largest:g}), RMS {relative:.2e} (at most {rms:g})")
    return bad


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PUBLIC
    failed = 0
    for case in cases(folder):
        bad = failures(*compute(folder, case))
        failed += bool(bad)
        print("FAIL" if bad else "PASS", case["name"], *bad, sep="\n  " if bad else " ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
