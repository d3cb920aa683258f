"""A teacher in a real browser: picks the child's clip, picks `child`, and sees what the server heard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ui.browsing import (
    PATIENCE_S,
    choose,
    chromium,
    menu_shows,
    readmes_clip,
    served,
    transcribe_example,
    visitors_files,
    wait_until,
)
from ui.menus import FIND_OUT

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="needs a browser: apt-get install chromium chromium-driver",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with served(folder) as address:
        yield address


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    with chromium(tmp_path / "profile", downloads=tmp_path) as driver:
        yield driver


def _reply(server: str, clip: Path, **fields: Any) -> httpx.Response:
    address = f"{server}/v1/audio/transcriptions"
    with clip.open("rb") as file:
        return httpx.post(address, data=fields, files={"file": file}, timeout=60).raise_for_status()


def _heard(server: str, clip: Path, **fields: str) -> str:
    return " ".join(_reply(server, clip, **fields).json()["text"].split())


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


def test_the_domain_is_found_out_until_an_example_brings_its_own(server: str, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, PATIENCE_S)
    clip, said = readmes_clip()
    (decision,) = _reply(server, clip, domain="auto").json()["ssvd"]["auto"]
    browser.get(f"{server}/ui/")
    wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#ssvd-about p"))
    wait.until(lambda d: menu_shows(d, "ssvd-domain") == FIND_OUT)
    transcribe_example(browser, server, said, None)
    assert menu_shows(browser, "ssvd-domain") == "child"
    assert not browser.find_elements(By.ID, "ssvd-found")

    choose(browser, "ssvd-domain", FIND_OUT)
    wait.until(lambda d: not d.find_elements(By.ID, "ssvd-domain-text"))
    browser.find_element(By.ID, "ssvd-go").click()
    wait.until(lambda d: d.find_elements(By.ID, "ssvd-domain-text"))
    assert menu_shows(browser, "ssvd-domain") == FIND_OUT
    found = browser.find_element(By.ID, "ssvd-found")
    assert "Found out: child version 1" in found.text
    bars = [each.text for each in found.find_elements(By.CSS_SELECTOR, ".ssvd-candidate")]
    names = {"child": "child version 1", "scottish": "scottish version 1", None: "the base model"}
    assert [bar.splitlines()[0] for bar in bars] == [names[each["domain"]] for each in decision["considered"]]
    assert "✓ chosen" in bars[0]
    assert browser.find_element(By.ID, "ssvd-domain-text").text.split() == said.split()
    assert re.search(r"child version 1 sha256:\w+", browser.find_element(By.ID, "ssvd-provenance").text)


# Whatever plays the recording: where it was when it was told to play, and where it is now.
WATCH = """
  const inner = [...document.querySelectorAll("#ssvd-audio *")].map((each) => each.shadowRoot);
  const found = inner.filter(Boolean).flatMap((root) => [...root.querySelectorAll("audio")]);
  window.player = found[0];
  window.played_from_s = [];
  const play = player.play;
  player.play = function () { played_from_s.push(this.currentTime); return play.call(this); };
  return found.length;
"""
TIMED = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"]}


def test_a_word_plays_the_recording_from_where_it_was_heard(server: str, browser: Any) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    clip, said = readmes_clip()
    heard = {
        kind: _reply(server, clip, **TIMED, **domain).json()["words"]
        for kind, domain in {"base": {}, "domain": {"domain": "child"}}.items()
    }
    transcribe_example(browser, server, said, "child")
    assert browser.execute_script(WATCH) == 1

    def word(place: str, text: str) -> Any:
        buttons = browser.find_elements(By.CSS_SELECTOR, f"{place} button")
        (found,) = [each for each in buttons if each.text == text]
        return found

    started = []
    for kind, words in heard.items():
        word(f".ssvd-lane.ssvd-{kind}", words[-1]["word"]).click()
        word(f"#ssvd-{kind}-text", words[1]["word"]).send_keys(Keys.ENTER)
        started += [words[-1]["start"], words[1]["start"]]
    assert browser.execute_script("return played_from_s") == pytest.approx(started, abs=0.001)
    WebDriverWait(browser, PATIENCE_S).until(
        lambda d: d.execute_script("return player.currentTime") > started[-1]
    )


def test_downloads_are_the_bytes_that_the_server_sends(server: str, browser: Any, tmp_path: Path) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    def download(end: str) -> bytes:
        """The content of the file whose name ends so."""
        css = f'[data-name$="{end}"], [download$="{end}"]'
        browser.find_element(By.CSS_SELECTOR, css).click()
        (file,) = WebDriverWait(browser, PATIENCE_S).until(lambda _: list(tmp_path.glob(f"*{end}")))
        return Path(file).read_bytes()

    clip, said = readmes_clip()
    formats = {"srt": {"response_format": "srt"}, "vtt": {"response_format": "vtt"}}
    formats |= {"txt": {"response_format": "text"}, "json": TIMED}
    transcribe_example(browser, server, said, "child")
    for kind, domain in {"base": {}, "child": {"domain": "child"}}.items():
        for end, fields in formats.items():
            assert download(f"-{kind}.{end}") == _reply(server, clip, **fields, **domain).content
    busy = "[data-format][aria-busy]"
    WebDriverWait(browser, PATIENCE_S).until(lambda d: not d.find_elements(By.CSS_SELECTOR, busy))


KEPT = """
  const done = arguments[arguments.length - 1];
  indexedDB.databases().then((found) => done(JSON.stringify(
    [Object.entries(localStorage), Object.entries(sessionStorage), document.cookie, found])));
"""


def test_a_recording_of_one_s_own_goes_with_its_page_and_its_name_is_in_no_log(
    server: str, folder: Path, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import WebDriverWait

    clip, said = readmes_clip()
    own = tmp_path / "anna-klein-2019.opus"
    own.write_bytes(clip.read_bytes())
    with chromium(tmp_path / "own-profile") as browser:
        wait = WebDriverWait(browser, PATIENCE_S)
        browser.get(f"{server}/ui/")
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#ssvd-about p"))
        menu = browser.find_element(By.CSS_SELECTOR, "#ssvd-example input")
        menu.send_keys(
            Keys.TAB
        )  # through the menu: its empty choice skips the player, which is then made anew
        browser.find_element(By.CSS_SELECTOR, "#ssvd-audio input[type=file]").send_keys(str(own))
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "#ssvd-audio #duration"))
        assert [path.name for path in visitors_files(folder)] == [own.name]
        browser.find_element(By.ID, "ssvd-go").click()
        wait.until(lambda d: d.find_elements(By.ID, "ssvd-domain-text"))
        kept = browser.execute_async_script(KEPT)
        assert own.stem not in kept
        assert not any(word in kept for word in said.split() if len(word) > 3)
    wait_until(lambda: visitors_files(folder) == [])
    log = (folder / "log").read_text()
    assert "server.requests" in log
    assert own.stem not in log


def test_a_file_that_the_browser_takes_for_something_else_can_be_opened_and_an_old_result_goes(
    server: str, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, PATIENCE_S)
    clip, said = readmes_clip()
    transcribe_example(browser, server, said, "child")
    own = tmp_path / "recorder.raw1"  # as .caf, .w64 or .mkv: no audio to a browser
    own.write_bytes(clip.read_bytes())
    # The button's own input is made when it is clicked; the file chooser cannot be driven.
    browser.execute_script(
        "HTMLInputElement.prototype.click = "
        "function () { window.chooser = this; document.body.append(this); };"
    )
    browser.find_element(By.ID, "ssvd-other").click()
    chooser = wait.until(lambda d: d.execute_script("return window.chooser"))
    assert not chooser.get_attribute("accept")
    chooser.send_keys(str(own))
    wait.until(lambda d: not d.find_elements(By.ID, "ssvd-domain-text"))
    assert browser.find_element(By.CSS_SELECTOR, "#ssvd-example input").get_attribute("value") == ""
    browser.find_element(By.ID, "ssvd-go").click()
    wait.until(lambda d: d.find_elements(By.ID, "ssvd-domain-text"))
    assert not browser.find_elements(By.ID, "ssvd-reference")
    assert browser.find_element(By.ID, "ssvd-domain-text").text.split() == said.split()


def test_a_refused_download_is_told_and_another_can_be_asked_for(
    server: str, browser: Any, tmp_path: Path
) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    wait = WebDriverWait(browser, PATIENCE_S)
    transcribe_example(browser, server, readmes_clip()[1], "child")
    srt, vtt = browser.find_elements(By.CSS_SELECTOR, ".ssvd-domain [data-format]")
    browser.execute_script("arguments[0].dataset.domain = 'gone'", srt)
    srt.click()
    wait.until(lambda d: "does not know this domain" in d.find_element(By.TAG_NAME, "body").text)
    wait.until(lambda _: srt.get_attribute("aria-busy") is None)
    vtt.click()
    wait.until(lambda _: list(tmp_path.glob("*.vtt")))
    assert not list(tmp_path.glob("*.srt"))
