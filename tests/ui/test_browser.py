"""A teacher in a real browser: picks the child's clip, picks `child`, and sees what the server heard."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters_store.packaged import PACKAGED
from ui.words import wrong_words

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs a browser: apt-get install chromium chromium-driver",
)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1200,1000",
]
PATIENCE_S = 240  # for slow machines; nothing is asserted about time


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`ssvd serve` as a user starts it, with an empty store."""
    folder = tmp_path_factory.mktemp("serve")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = "import sys; from ssvd_asr.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "serve", "--port", str(port)]
    environment = {**os.environ, "SSVD_STORE": str(folder / "store")}
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_ready(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(PATIENCE_S):
        assert process.poll() is None, log.read_text()
        try:
            if httpx.get(f"{address}/readyz").status_code == 200:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(1)
    raise AssertionError(f"not ready after {PATIENCE_S} s:\n{log.read_text()}")


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def _heard(server: str, clip: Path, **fields: str) -> str:
    with clip.open("rb") as file:
        reply = httpx.post(f"{server}/v1/audio/transcriptions", data=fields, files={"file": file}, timeout=60)
    reply.raise_for_status()
    return " ".join(reply.json()["text"].split())


def _readmes_clip() -> Path:
    """The clip that the README shows: it tells the domain from the base."""
    root = PACKAGED.parents[1]
    found = re.search(r"CLIP=(\S+)", (root / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    return root / found[1]


def _choose(browser: Any, element: str, text: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.find_element(By.CSS_SELECTOR, f"#{element} input").click()
    option = WebDriverWait(browser, PATIENCE_S).until(
        lambda d: [o for o in d.find_elements(By.CSS_SELECTOR, "ul[role=listbox] li") if text in o.text]
    )
    option[0].click()


def test_the_page_shows_what_base_and_child_heard_side_by_side(server: str, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    samples = PACKAGED / "child" / "samples"
    entries = map(json.loads, (samples / "test.jsonl").read_text(encoding="utf-8").splitlines())
    short = next(entry for entry in entries if samples / entry["audio"] == _readmes_clip())
    clip = samples / short["audio"]
    base, child = _heard(server, clip, model="owsm-nano"), _heard(server, clip, domain="child")
    said = short["text"]
    assert wrong_words(said, child) < wrong_words(said, base), "this clip would show nothing"

    wait = WebDriverWait(browser, PATIENCE_S)
    browser.get(f"{server}/ui/")
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#ssvd-about p"))
    _choose(browser, "ssvd-example", short["text"])
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#ssvd-audio audio, #ssvd-audio #duration"))
    _choose(browser, "ssvd-domain", "child")
    browser.find_element(By.ID, "ssvd-go").click()
    wait.until(lambda d: d.find_elements(By.ID, "ssvd-domain-text"))

    def shown(element: str) -> str:
        return " ".join(browser.find_element(By.ID, element).text.split())

    assert (shown("ssvd-reference"), shown("ssvd-base-text"), shown("ssvd-domain-text")) == (
        short["text"],
        base,
        child,
    )
    assert browser.find_elements(By.CSS_SELECTOR, "#ssvd-domain-text *"), "differing words are marked"
    assert re.search(r"owsm-nano sha256:\w+.* child version 1 sha256:\w+", shown("ssvd-provenance"))
