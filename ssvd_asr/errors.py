"""Errors a user can cause. Each message names the value, the limit and the setting that would change it."""


class SsvdError(ValueError):
    """Base of every error this project raises on purpose."""


class BaseModelError(SsvdError):
    """A base checkpoint is missing, incomplete or of a kind we cannot run."""


class AdapterError(SsvdError):
    """An adapter file is unreadable, incomplete, non-finite or does not fit."""


class AdapterUnreadableError(AdapterError):
    """An adapter's file cannot be read now; neither its content nor its place is at fault."""


class WrongBaseError(AdapterError):
    """The adapter was made for another base model (its digest differs)."""


class WrongBasisError(AdapterError):
    """The base's singular vectors are not those the adapter was trained on."""


class UnknownDomainError(SsvdError):
    """No adapter of this name (or version) is in the store."""


class StoreError(SsvdError):
    """The store refuses: a bad name, a read-only domain, a missing version."""


class DataError(SsvdError):
    """A manifest or data directory cannot be used."""


class AudioError(SsvdError):
    """Audio that cannot be used."""


class AudioUnreadableError(AudioError):
    """No decoder can read it, or it holds no finite samples."""


class AudioTooLongError(AudioError):
    """Longer, larger or wider than the stated limit."""
