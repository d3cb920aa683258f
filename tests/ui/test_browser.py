"""A teacher in a real browser: picks the child's clip, picks `child`, and sees what the server heard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ui.browsing import chromium, readmes_clip, served, transcribe_example

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs a browser: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("serve")) as address:
        yield address


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with chromium(tmp_path / "profile") as driver:
        yield driver


def _heard(server: str, clip: Path, **fields: str) -> str:
    with clip.open("rb") as file:
        reply = httpx.post(f"{server}/v1/audio/transcriptions", data=fields, files={"file": file}, timeout=60)
    reply.raise_for_status()
    return " ".join(reply.json()["text"].split())


def test_the_page_shows_what_base_and_child_heard_side_by_side(server: str, browser: Any) -> None:
    from selenium.webdriver.common.by import By

    clip, said = readmes_clip()
    base, child = _heard(server, clip, model="owsm-nano"), _heard(server, clip, domain="child")
    assert base != said, "this clip would show nothing"
    assert child == said

    transcribe_example(browser, server, said, "child")

    def shown(element: str) -> str:
        return " ".join(browser.find_element(By.ID, element).text.split())

    assert (shown("ssvd-reference"), shown("ssvd-base-text"), shown("ssvd-domain-text")) == (
        said,
        base,
        child,
    )
    assert browser.find_elements(By.CSS_SELECTOR, "#ssvd-domain-text *"), "differing words are marked"
    assert re.search(r"owsm-nano sha256:\w+.* child version 1 sha256:\w+", shown("ssvd-provenance"))
