"""The `.index` files that accompany RVC voices: faiss indexes, of which altervox takes the vectors only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..kernels.errors import CheckpointError, MissingDependencyError
from ..kernels.extras import how_to_install
from .retrieval import FeatureIndex

MAX_BYTES = 4 << 30


def read_index(path: Path, width: int) -> FeatureIndex:
    """Read the vectors of an index.

    Args:
        path: The file; any path that Python can open.
        width: Size of the voice's features, 256 or 768.

    Raises:
        MissingDependencyError: faiss is not installed.
        CheckpointError: the file is damaged or belongs to another kind of voice.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            f"{path.name} is not used because faiss is not installed: {how_to_install('index')}"
        ) from error
    if path.stat().st_size > MAX_BYTES:
        raise CheckpointError(f"{path} has {path.stat().st_size / 1e9:.1f} GB; an index has less than 4")
    try:
        # Through memory: faiss opens no path with characters beyond the system's code page.
        index = faiss.deserialize_index(np.frombuffer(path.read_bytes(), dtype=np.uint8))
        # An inverted file numbers its vectors only once asked to.
        inverted = faiss.try_extract_index_ivf(index)
        if inverted is not None:
            inverted.make_direct_map()
        vectors = index.reconstruct_n(0, index.ntotal)
    except (RuntimeError, OSError, AssertionError, ValueError) as error:
        raise CheckpointError(f"{path} is no readable index; the voice's author may have a whole one") from error
    if vectors.shape[0] == 0 or vectors.shape[1] != width:
        raise CheckpointError(
            f"{path} holds {vectors.shape[0]} vectors of {vectors.shape[1]} values, the voice takes {width}: "
            "it belongs to another voice"
        )
    if not np.isfinite(vectors).all():
        raise CheckpointError(f"{path} is damaged: it holds values that are not finite")
    return FeatureIndex(torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32)))
