"""Take the README's picture of the page: `python -m tests.ui.picture`, after new weights or a new look."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.ui.browsing import ROOT, chromium, readmes_clip, served, transcribe_example

PICTURE = ROOT / "docs" / "ui.png"
WINDOW_PX = (1200, 1560)  # all that a transcription shows


def main() -> None:
    """Write docs/ui.png."""
    _, said = readmes_clip()
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder)) as server,
        chromium(Path(folder) / "profile") as browser,
    ):
        browser.set_window_size(*WINDOW_PX)
        transcribe_example(browser, server, said, "child")
        browser.save_screenshot(str(PICTURE))


if __name__ == "__main__":
    main()
