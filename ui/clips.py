"""Example recordings of the page: listed for the menu, fetched from the server when chosen.

What a visitor may hear is the server's to say, by the visitor's key. So each method asks it, through the
visitor's client.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from urllib.parse import unquote

from ui.client import Catalogue, Clip, ServerClient
from ui.refusals import ServerProblem

MENU_WORDS = 7  # of a clip's text


class Clips:
    """Clips of one server by keys as "child/clip-1". The audio of each is fetched once into `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fetching = threading.Lock()

    def refresh(self, client: ServerClient, catalogue: Catalogue) -> list[tuple[str, str]]:
        """Ask for the clips of every domain, and return (label, key) pairs for the menu.

        Raises ServerProblem.
        """
        found = [clip for domain in catalogue.domains for clip in client.clips(domain.name)]
        return [(_label(clip), f"{clip.domain}/{clip.id}") for clip in found]

    def fetch(self, client: ServerClient, key: str) -> Path:
        """Return the path of the clip's audio, fetching it if needed.

        Raises ServerProblem, also for a clip that the server does not have, or not for this visitor.
        """
        clip = _find(client, key)
        if clip is None:
            raise ServerProblem("The server does not know this example any more. Please refresh the list.")
        with self._fetching:
            # The file name does not use the server's name of the clip, which is not trusted.
            path = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}.ogg"
            if not path.exists():
                path.write_bytes(client.audio(clip))
            return path

    def holds(self, path: Path) -> bool:
        """Return whether a file in the player is a clip, and not the visitor's own."""
        return path.resolve().is_relative_to(self._folder)

    def domain(self, key: str) -> str:
        """Return the domain that a clip is of."""
        return key.partition("/")[0]

    def words(self, client: ServerClient, key: str | None) -> str | None:
        """Return the text of a clip, or None for a recording that is not one."""
        try:
            clip = None if key is None else _find(client, key)
        except ServerProblem:
            return None  # the transcript is there, and is shown without what was said
        return None if clip is None else clip.text


def _find(client: ServerClient, key: str) -> Clip | None:
    domain, slash, clip_id = key.partition("/")
    if not slash:  # typed, not chosen
        return None
    return next((clip for clip in client.clips(domain) if clip.id == clip_id), None)


def _label(clip: Clip) -> str:
    words = clip.text.split()
    more = " …" if len(words) > MENU_WORDS else ""
    return f"{unquote(clip.domain)}: {' '.join(words[:MENU_WORDS])}{more}"
