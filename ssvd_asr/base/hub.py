"""Download of a model's files from the Hugging Face hub, by its tag: `org/name` or `org/name@revision`.

huggingface_hub downloads, resumes and caches. HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and HF_HOME are its own.
It waits without limit for what a tag means and for the list of files, so there is a time limit for both here.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING

from ssvd_asr.errors import BaseModelError

if TYPE_CHECKING:
    from huggingface_hub import ResolvedRevision

HUB_TAG = re.compile(r"[\w.-]+/[\w.-]+(@(refs/pr/\d+|[\w.-]+))?")
ANSWER_S = 8.0  # for the hub to say which commit a tag means
SMALL_FILES_S = 60.0  # for the list of files and a few small ones
_COMMIT = re.compile("[0-9a-f]{40}")
_WITHOUT = "Without a network, download the repository elsewhere and give its folder instead of the tag"

# The library reads this when it is imported. Otherwise it tells the hub about the program that uses it.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubModel:
    """One commit of a repository.

    Attributes:
        asked: whether the hub was asked which commit the tag means, as it is unless the tag has its hash.
        unreached: why the hub did not answer; then only files in the cache are used.
    """

    tag: str
    commit: ResolvedRevision
    asked: bool
    unreached: str | None = None

    def fetch_small(self, patterns: Sequence[str]) -> Path:
        """Download the small files that match, of which none need exist; return the folder.

        Raises:
            BaseModelError: the hub refuses or does not answer, and the cache has no such folder.
        """
        try:
            return _within(SMALL_FILES_S, lambda: self.fetch(patterns))
        except TimeoutError:
            raise BaseModelError(f"base model {self.tag!r}: {_silent(SMALL_FILES_S)}. {_WITHOUT}") from None

    def fetch(self, patterns: Sequence[str]) -> Path:
        """Download all files that match, those that are not in the cache; return the folder.

        Raises:
            BaseModelError: the hub refuses or stops answering, or the disk is full; or it was not reached and
                the cache lacks some of the files.
        """
        from huggingface_hub.errors import LocalEntryNotFoundError

        if self.asked and self.unreached is None:
            return self._snapshot(patterns, local=False)
        try:
            return self._snapshot(patterns, local=True)
        except LocalEntryNotFoundError as error:
            why = self.unreached if self.asked else _ask(self.tag)
            if why is not None:
                raise BaseModelError(
                    f"base model {self.tag!r}: {why}, and its copy in the cache is incomplete. {_WITHOUT}"
                ) from error
        return self._snapshot(patterns, local=False)

    def _snapshot(self, patterns: Sequence[str], *, local: bool) -> Path:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        repository = self.tag.partition("@")[0]
        try:
            folder = snapshot_download(
                repository, revision=self.commit, allow_patterns=list(patterns), local_files_only=local
            )
        except Exception as error:  # its clients raise errors of several libraries
            if local and isinstance(error, LocalEntryNotFoundError):
                raise
            raise _refusal(self.tag, error) from error
        return Path(folder)


def find(tag: str) -> HubModel:
    """Return the commit that a tag means. Where the hub cannot be reached the cache tells it, with a warning.

    Raises:
        BaseModelError: the hub has no such repository or revision, or was not reached and nothing is cached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RevisionResolutionError

    repository, _, revision = tag.partition("@")
    asked = not _COMMIT.fullmatch(revision)
    why = _ask(tag) if asked else None
    try:
        # The answer to _ask lies in the cache.
        commit = HfApi().resolve_revision(repository, revision=revision or None, local_files_only=True)
    except RevisionResolutionError as error:
        raise BaseModelError(
            f"base model {tag!r}: {why or 'the cache cannot be written'}, and the cache has no copy. "
            + _WITHOUT
        ) from error
    if why is not None:
        logger.warning("base model %r: %s; the copy in the cache is used", tag, why)
    return HubModel(tag, commit, asked, why)


def _ask(tag: str) -> str | None:
    """Ask the hub which commit a tag means, once; the cache keeps the answer. Return why it was not reached.

    Raises:
        BaseModelError: the hub answers that it has no such repository or revision.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    repository, _, revision = tag.partition("@")

    def ask() -> None:
        HfApi().model_info(repository, revision=revision or None)
        HfApi().resolve_revision(repository, revision=revision or None)

    try:
        _within(ANSWER_S, ask)
    except TimeoutError:
        return _silent(ANSWER_S)
    except OfflineModeIsEnabled:
        return "HF_HUB_OFFLINE forbids the hub"
    except HfHubHTTPError as error:
        if error.response.status_code < 500:
            raise _refusal(tag, error) from error
        return f"the hub at {_endpoint()} answered with status {error.response.status_code}"
    except Exception as error:  # its clients raise errors of several libraries
        return f"the hub at {_endpoint()} cannot be reached ({_first_line(error)})"
    return None


def _refusal(tag: str, error: Exception) -> BaseModelError:
    """Return an error of one line that says what to do."""
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    where = f"base model {tag!r}: the hub at {_endpoint()}"
    repository, _, revision = tag.partition("@")
    cause = error.__cause__ if isinstance(error.__cause__, HfHubHTTPError) else error
    status = cause.response.status_code if isinstance(cause, HfHubHTTPError) else None
    if isinstance(cause, GatedRepoError):
        return BaseModelError(
            f"{where} gives it only to accounts that accepted its terms (status {status}): "
            f"accept them at {_endpoint()}/{repository}, and set HF_TOKEN"
        )
    if isinstance(cause, RepositoryNotFoundError):
        return BaseModelError(
            f"{where} has no repository {repository!r} that this account may read (status {status}): "
            "check the name, and set HF_TOKEN if it is private; there is no folder of this name either"
        )
    if isinstance(cause, RevisionNotFoundError):
        return BaseModelError(f"{where} has no revision {revision!r} of {repository!r}")
    if status is not None:
        return BaseModelError(f"{where} answered with status {status}. {_WITHOUT}")
    return BaseModelError(f"base model {tag!r}: its download failed ({_first_line(cause)}). {_WITHOUT}")


def _silent(limit_s: float) -> str:
    return f"the hub at {_endpoint()} did not answer within {limit_s:g} s"


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}".removesuffix(": ")


def _within[T](limit_s: float, step: Callable[[], T]) -> T:
    """Return what a step returns, or raise what it raises.

    The step runs in a thread, because a client's own time limits hold for each address of a host in turn, and
    not for the search of its name. Raises TimeoutError after `limit_s`; its thread ends with the process.
    """
    done: SimpleQueue[tuple[T | None, BaseException | None]] = SimpleQueue()

    def work() -> None:
        try:
            done.put((step(), None))
        except BaseException as error:
            done.put((None, error))

    Thread(target=work, daemon=True, name="hub").start()
    try:
        found, error = done.get(timeout=limit_s)
    except Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return found  # type: ignore[return-value]
