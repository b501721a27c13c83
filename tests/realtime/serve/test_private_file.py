"""Files that only the user can read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from altervox.kernels.errors import ServerError
from altervox.realtime.serve.private_file import write_private
from altervox.realtime.serve.settings import read_token_file

pytestmark = pytest.mark.linux  # for limits and modes


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file can grow, as on a disk that is full."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_it_is_the_users_own(tmp_path: Path) -> None:
    write_private(tmp_path / "new" / "token", "one")
    write_private(tmp_path / "new" / "token", "two")
    (file,) = (tmp_path / "new").iterdir()
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("two", 0o600)


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_no_part_of_a_token(tmp_path: Path) -> None:
    """An empty file would be in the way of the next start."""
    with pytest.raises(ServerError, match="token: File too large"):
        read_token_file(tmp_path / "token")
    assert not list(tmp_path.iterdir())
