"""What `altervox doctor` says about the library of voices and the base models."""

from __future__ import annotations

import os
from collections.abc import Iterator

from .check import Check


def library_checks() -> Iterator[Check]:
    """The library folder and the base models in it."""
    from ...models.paths import base_folder, library_folder
    from ...models.published import CONTENT_ENCODER, PITCH_NETWORK

    folder = library_folder()
    nearest = next(p for p in (folder, *folder.parents) if p.exists())
    if nearest.is_dir() and os.access(nearest, os.W_OK):
        yield Check("library", "ok", str(folder))
    else:
        yield Check("library", "error", f"{folder} cannot be written", "set ALTERVOX_HOME to a folder of yours")
    for model in (CONTENT_ENCODER, PITCH_NETWORK):
        path = model.find()
        if path is None:
            remedy = (
                f"fetched on first use ({model.size_bytes / 1e6:.0f} MB), or put {model.filename} from "
                f"https://huggingface.co/{model.repository} into {base_folder()}"
            )
            if model is PITCH_NETWORK:
                yield Check(model.filename, "ok", "not there; only --f0-method rmvpe needs it", remedy)
            else:
                yield Check(model.filename, "warning", "not there; RVC voices need it", remedy)
            continue
        size = path.stat().st_size
        published = "the published size" if size == model.size_bytes else "not the published size"
        yield Check(model.filename, "ok", f"{path}, {size / 1e6:.0f} MB, {published}")
