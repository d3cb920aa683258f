"""A server as a user starts it, and the page in chromium: for the test, and for the README's picture."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from adapters_store.packaged import PACKAGED
from tests.ports import free_port

ROOT = PACKAGED.parents[1]
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1200,1000",
]
PATIENCE_S = 240  # for slow machines; nothing is asserted about time


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Address of an `ssvd serve` with an empty store in `folder`; its log and temporary files are beside."""
    port = free_port()
    script = "import sys; from ssvd_asr.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", script, "serve", "--port", str(port)]
    places = {"SSVD_STORE": str(folder / "store"), "TMPDIR": str(folder / "tmp")}
    (folder / "tmp").mkdir()
    environment = {**os.environ, **places, "GRADIO_HEARTBEAT_INTERVAL": "0.5"}
    address = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_ready(address, process, folder / "log")
        yield address
    finally:
        process.terminate()
        process.wait(60)


def visitors_files(folder: Path) -> list[Path]:
    """Every file below the server's temporary folder but the lock of the page and the clips that ship."""
    files = [path for path in (folder / "tmp").rglob("*") if path.is_file()]
    return [path for path in files if path.name != "lock" and path.parent.name != "clips"]


def wait_until(true: Callable[[], object]) -> None:
    for _ in range(10 * PATIENCE_S):
        if true():
            return
        time.sleep(0.1)
    raise AssertionError("it never came to pass")


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


@contextmanager
def chromium(profile: Path, downloads: Path | None = None) -> Iterator[Any]:
    """A headless browser with a fresh profile, which saves downloads in a folder."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={profile}"]:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium") or ""
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    if downloads is not None:
        place = {"behavior": "allow", "downloadPath": str(downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)
    try:
        yield driver
    finally:
        driver.quit()


def readmes_clip() -> tuple[Path, str]:
    """The clip that the README shows, which tells the domain from the base, and what is said in it."""
    found = re.search(r"CLIP=(\S+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    clip = ROOT / found[1]
    entries = map(json.loads, (clip.parent / "test.jsonl").read_text(encoding="utf-8").splitlines())
    (said,) = [entry["text"] for entry in entries if entry["audio"] == clip.name]
    return clip, said


def transcribe_example(browser: Any, server: str, said: str, domain: str | None) -> None:
    """Open the page, choose the example of these words and the domain, and wait for both transcripts.

    Without a domain, that of the example stays.
    """
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, PATIENCE_S)
    browser.get(f"{server}/ui/")
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#ssvd-about p"))
    choose(browser, "ssvd-example", said)
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#ssvd-audio audio, #ssvd-audio #duration"))
    if domain is not None:
        choose(browser, "ssvd-domain", domain)
    browser.find_element(By.ID, "ssvd-go").click()
    wait.until(lambda d: d.find_elements(By.ID, "ssvd-domain-text"))
    wait.until(lambda d: d.find_element(By.ID, "ssvd-go").is_enabled())


def menu_shows(browser: Any, element: str) -> str:
    """The label of what is chosen in a menu."""
    from selenium.webdriver.common.by import By

    return str(browser.find_element(By.CSS_SELECTOR, f"#{element} input").get_attribute("value"))


def choose(browser: Any, element: str, text: str) -> None:
    """Choose the first entry of a menu that has this text."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.find_element(By.CSS_SELECTOR, f"#{element} input").click()
    option = WebDriverWait(browser, PATIENCE_S).until(
        lambda d: [o for o in d.find_elements(By.CSS_SELECTOR, "ul[role=listbox] li") if text in o.text]
    )
    option[0].click()
