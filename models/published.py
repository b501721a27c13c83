"""The published networks that voices need beside their own: found in the library, or fetched into it once."""

from __future__ import annotations

import hashlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..kernels.errors import BaseModelError
from .exclusive import alone
from .paths import base_folder

log = logging.getLogger(__name__)

_UNFINISHED = "unfinished"  # folder of what is being fetched


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A published file.

    Attributes:
        title: Name of the model in messages.
        filename: Name of the file, in the library and in the repository.
        alternatives: Other files of the same network that may be put into the library by hand.
        marker: Start of a tensor name by which its kind is known.
        repository: On huggingface.co.
        size_bytes: Exact.
        sha256: SHA-256 of the file.
        licence: As the repository states it.
    """

    title: str
    filename: str
    alternatives: tuple[str, ...]
    marker: str
    repository: str
    size_bytes: int
    sha256: str
    licence: str

    def find(self) -> Path | None:
        """Where it lies in the library, None if it does not."""
        candidates = (base_folder() / name for name in (self.filename, *self.alternatives))
        return next((path for path in candidates if path.is_file()), None)

    def fetch(self) -> Path:
        """Find it in the library, or download it there, checking its size and SHA-256.

        Raises:
            BaseModelError: it is not there and cannot be obtained; the message says where to put it by hand.
        """
        found = self.find()
        if found is not None:
            return found
        target = base_folder() / self.filename
        source = f"https://huggingface.co/{self.repository}"
        log.warning(
            "fetching %s (%.0f MB, licence %s) from %s into %s",
            *(self.filename, self.size_bytes / 1e6, self.licence, source, target.parent),
        )
        by_hand = f"download {self.filename} from {source} and put it into {target.parent}"
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
        from huggingface_hub.utils import logging as hub_logging

        hub_logging.set_verbosity(logging.ERROR)  # it would log each try

        unfinished = target.parent / _UNFINISHED
        waiting = f"another altervox is fetching {self.filename}; waiting for it"
        try:
            # Both would write into one folder, and the first to finish would take it from the other.
            # The lock lies outside that folder, which goes while others still wait for it.
            with alone(target.parent, waiting):
                if not target.is_file():
                    # Not forced, it would try for 24 s where there is no network.
                    fetched = Path(
                        hf_hub_download(self.repository, self.filename, local_dir=unfinished, force_download=True)
                    )
                    self._check(fetched, by_hand)
                    fetched.replace(target)
                shutil.rmtree(unfinished, ignore_errors=True)
        except BaseModelError:
            raise
        except Exception as error:  # the errors of the HTTP library have no other class in common
            cause = error.__cause__ or error
            reason = type(cause).__name__
            if isinstance(error, (LocalEntryNotFoundError, ValueError)) and not isinstance(cause, HfHubHTTPError):
                reason = "huggingface.co does not answer"
            raise BaseModelError(f"{self.title} could not be fetched ({reason}): {by_hand}") from error
        return target

    def _check(self, fetched: Path, by_hand: str) -> None:
        """Refuse, and delete, what is not the published file."""
        size = fetched.stat().st_size
        if size != self.size_bytes or _sha256(fetched) != self.sha256:
            fetched.unlink()
            raise BaseModelError(
                f"{self.title}: what came has {size:,} bytes and is not the published {self.filename}: {by_hand}"
            )


CONTENT_ENCODER = BaseModel(
    title="the content encoder (HuBERT base)",
    filename="hubert_base.pt",
    alternatives=(
        "content_vec_best.bin",
        "contentvec.safetensors",
        "content-vec-best/model.safetensors",
        "content-vec-best/pytorch_model.bin",
    ),
    marker="feature_extractor.",
    repository="lj1995/VoiceConversionWebUI",
    size_bytes=189_507_909,
    sha256="f54b40fd2802423a5643779c4861af1e9ee9c1564dc9d32f54f20b5ffba7db96",
    licence="MIT",
)
PITCH_NETWORK = BaseModel(
    title="the pitch network (RMVPE)",
    filename="rmvpe.pt",
    alternatives=("rmvpe.safetensors",),
    marker="unet.",
    repository="lj1995/VoiceConversionWebUI",
    size_bytes=181_184_272,
    sha256="6d62215f4306e3ca278246188607209f09af3dc77ed4232efdd069798c4ec193",
    licence="MIT",
)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
