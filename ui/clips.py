"""Example recordings of the page: listed for the menu, fetched from the server when chosen."""

from __future__ import annotations

import threading
from pathlib import Path
from urllib.parse import unquote

from ui.client import Catalogue, Clip, ServerClient
from ui.refusals import ServerProblem

MENU_WORDS = 7  # of a clip's text


class Clips:
    """Clips of one server. Each is fetched once into `folder`."""

    def __init__(self, client: ServerClient, folder: Path) -> None:
        self._client = client
        self._folder = folder
        self._known: dict[str, Clip] = {}  # by key, as "child/clip-1"
        self._fetching = threading.Lock()

    def refresh(self, catalogue: Catalogue) -> list[tuple[str, str]]:
        """Ask for the clips of every domain, and return (label, key) pairs for the menu.

        Raises ServerProblem.
        """
        found = [clip for domain in catalogue.domains for clip in self._client.clips(domain.name)]
        self._known = {f"{clip.domain}/{clip.id}": clip for clip in found}
        return [(_label(clip), key) for key, clip in self._known.items()]

    def fetch(self, key: str) -> Path:
        """Return the path of the clip's audio, fetching it if needed.

        Raises ServerProblem, also for a clip of a page that is older than this process.
        """
        clip = self._known.get(key)
        if clip is None:
            raise ServerProblem("The server does not know this example any more. Please refresh the list.")
        with self._fetching:
            # The file name does not use the server's name of the clip, which is not trusted.
            path = self._folder / f"{list(self._known).index(key)}-{clip.domain}.ogg"
            if not path.exists():
                path.write_bytes(self._client.audio(clip))
            return path

    def domain(self, key: str) -> str:
        """Return the domain that a clip is of."""
        return self._known[key].domain

    def words(self, key: str | None) -> str | None:
        """Return the text of a clip, or None for a recording that is not one."""
        clip = self._known.get(key or "")
        return None if clip is None else clip.text


def _label(clip: Clip) -> str:
    words = clip.text.split()
    more = " …" if len(words) > MENU_WORDS else ""
    return f"{unquote(clip.domain)}: {' '.join(words[:MENU_WORDS])}{more}"
