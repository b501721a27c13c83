"""The panel's files, read once: a request chooses one of them by name and never reaches the file system."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent / "panel"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True, slots=True)
class Page:
    """One file of the panel.

    Attributes:
        content: Bytes of the file.
        content_type: MIME type.
        tag: ETag, which changes with the content.
    """

    content: bytes
    content_type: str
    tag: str


def load_pages() -> dict[str, Page]:
    """The panel's files by path of the address; "/" is the page itself."""
    pages = {f"/{path.name}": _page(path) for path in FOLDER.glob("*") if path.suffix in _TYPES}
    return pages | ({"/": pages["/index.html"]} if "/index.html" in pages else {})


def _page(path: Path) -> Page:
    content = path.read_bytes()
    return Page(content, _TYPES[path.suffix], f'"{hashlib.sha256(content).hexdigest()[:20]}"')
