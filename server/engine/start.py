"""The engine from the settings: what the server and `ssvd transcribe` both run, without HTTP."""

from __future__ import annotations

import logging

from adapters_store.store import AdapterStore
from server.bank.bank import Bank
from server.domains import Domains
from server.engine.engine import Engine
from server.engine.model_recogniser import ModelRecogniser
from server.engine.recogniser import Recogniser
from server.engine.threads import use_threads
from server.settings import ServerSettings
from ssvd_asr.device import slow_in
from ssvd_asr.languages import language_symbol, supported_language

logger = logging.getLogger(__name__)


def open_store(settings: ServerSettings) -> AdapterStore:
    """The store that the settings name."""
    return AdapterStore(settings.store or None, elsewhere=settings.elsewhere)


def start_engine(settings: ServerSettings) -> Engine:
    """Load the base and start the engine over it.

    Side effect: on a CPU the process's number of torch threads is set.

    Raises BaseModelError or SsvdError where the base cannot be loaded.
    """
    language_symbol(settings.language)  # what is no language is told before the base is loaded
    threads = use_threads(settings.threads)
    recogniser = ModelRecogniser.load(
        settings.base,
        device=settings.device,
        dtype=settings.dtype,
        hot_max_bytes=settings.hot_max_bytes,
        search=settings.decoding,
        times=settings.times,
        compression=settings.compression,
        basis_share=settings.basis_share,
    )
    supported_language(settings.language, recogniser.languages, f"SSVD_LANGUAGE: base {recogniser.name}")
    on_cpu = recogniser.device.type == "cpu"
    dtype = str(recogniser.dtype).removeprefix("torch.")
    logger.info("%s on %s in %s%s", recogniser.name, recogniser.device, dtype,
                f", {threads} threads" if on_cpu else "")  # fmt: skip
    if slow_in(recogniser.dtype, recogniser.device):
        logger.warning("this CPU has no instructions for bfloat16: float32 is faster here (SSVD_DTYPE)")
    return engine_over(recogniser, settings, open_store(settings))


def engine_over(recogniser: Recogniser, settings: ServerSettings, store: AdapterStore) -> Engine:
    """Start an engine with an empty bank."""
    bank = Bank(
        recogniser,
        max_bytes=settings.bank_max_bytes,
        host_max_bytes=settings.bank_host_max_bytes,
        max_blends=settings.bank_max_blends,
        load_timeout_s=settings.load_timeout_s,
    )
    return Engine(
        recogniser,
        Domains(store, bank),
        queue_max_audio_s=settings.queue_max_audio_s,
        batch_max_audio_s=settings.batch_max_audio_s,
        request_timeout_s=settings.request_timeout_s,
        auto=settings.auto,
    )
