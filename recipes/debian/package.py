"""Place of a package's files: where apt put them, or a folder into which the package was unpacked."""

from __future__ import annotations

import gzip
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

from ssvd_asr.errors import DataError

SYSTEM = Path("/")  # where apt installs


@dataclass(frozen=True)
class Package:
    """Files of one or more Debian packages of one corpus."""

    names: tuple[str, ...]  # of the packages
    corpus: Path = SYSTEM  # what the packages were installed or unpacked into (`dpkg -x PACKAGE.deb FOLDER`)

    def find(self, *places: str) -> Path:
        """Return the first of the places that exists. A place is a path relative to ``corpus``.

        Raises:
            DataError: none of them exists; the message says how to get the packages.
        """
        found = next((self.corpus / place for place in places if (self.corpus / place).exists()), None)
        if found is None:
            raise DataError(
                f"there is no {places[0]} in {self.corpus}: "
                f"apt-get install --no-install-recommends {' '.join(self.names)}, "
                "or apt-get download them, dpkg -x each into a folder, and name it with --corpus"
            )
        return found.resolve()

    def versions(self) -> dict[str, str | None]:
        """Return the version of each package by its changelog; None where there is no changelog."""
        return {name: self._version(name) for name in self.names}

    def _version(self, name: str) -> str | None:
        changelog = self.corpus / "usr/share/doc" / name / "changelog.Debian.gz"
        try:
            text = gzip.decompress(changelog.read_bytes()).decode(errors="replace")
        except (OSError, EOFError, zlib.error):
            return None
        found = re.match(r"\S+ \(([^)]+)\)", text)
        return found[1] if found else None
