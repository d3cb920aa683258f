"""Errors that a user can cause. Each message names the value, the limit and the setting that changes it."""

import errno

_FULL = (errno.ENOSPC, errno.EDQUOT)


class SsvdError(ValueError):
    """Base class of all errors that this project raises on purpose."""


class BaseModelError(SsvdError):
    """A base checkpoint is missing, incomplete or of a kind we cannot run."""


class LanguageError(SsvdError):
    """What was given is no language, or one that the base does not have."""


class AdapterError(SsvdError):
    """An adapter file is unreadable, incomplete, non-finite or does not fit."""


class AdapterUnreadableError(AdapterError):
    """An adapter's file cannot be read now, for a reason other than its content or its place."""


class WrongBaseError(AdapterError):
    """The adapter was made for another base model (its digest differs)."""


class WrongBasisError(AdapterError):
    """The base's singular vectors are not those the adapter was trained on."""


class BlendError(SsvdError):
    """A blend of domains is written wrongly, or has too many parts or a weight out of range."""


class BlendFormError(BlendError):
    """Adapters whose trained numbers do not mean the same cannot be added."""


class KeywordError(SsvdError):
    """Keywords are too many, too long or outside the base's vocabulary, or the search cannot follow them."""


class UnknownDomainError(SsvdError):
    """No adapter of this name (or version) is in the store."""


class StoreError(SsvdError):
    """The store refuses a request: a bad name, a read-only domain, a missing version."""


class StoreRefusedError(StoreError):
    """The store does not make a change that it could make. `code` says why, for programs."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class StoreUnwritableError(StoreError):
    """The store, or the log of its changes, cannot be written."""


class StoreFullError(StoreUnwritableError):
    """The store's disk, or that of the log of its changes, is full."""


def unwritable(what: str, error: OSError) -> StoreUnwritableError:
    """Return the operating system's error as one of the store."""
    kind = StoreFullError if error.errno in _FULL else StoreUnwritableError
    return kind(f"{what}: {error}")


class StoreUnreachableError(StoreError):
    """The store does not answer now, or others hold it for too long."""


class DataError(SsvdError):
    """A manifest or data directory cannot be used."""


class AudioError(SsvdError):
    """Audio cannot be used."""


class AudioUnreadableError(AudioError):
    """No decoder can read the audio, or its samples or sampling rate are unusable."""


class AudioLimitError(AudioError):
    """The audio exceeds a stated limit: its length, size, channels, sampling rate or decoding cost."""


class AudioTooLongError(AudioLimitError):
    """The audio is longer than a limit in seconds."""


class ChannelError(AudioError):
    """The audio does not have the channel asked for."""
