"""A Chromium for the tests of the panel."""

from __future__ import annotations

import os
from collections.abc import Iterator

import browser
import pytest


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browser.Browser]:
    if absent := browser.missing():
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no {absent}: sudo apt install {browser.PACKAGES}")
    with browser.chromium(dict(os.environ), tmp_path_factory.mktemp("browser")) as running:
        running.resize(1180, 1000)
        yield running
