"""Signs that words are wrong where CTC does not tell: repetitions, improbable words, no speech.

The thresholds are those of Whisper's own code (openai/whisper, transcribe.py).
"""

from __future__ import annotations

import zlib

from ssvd_asr.decoding.hypothesis import Hypothesis
from ssvd_asr.decoding.pace import Pace

MAX_COMPRESSION = 2.4  # of a text's bytes to those that zlib needs: a loop compresses well
MIN_LOG_PROB = -1.0  # mean natural log-probability of a row's tokens
MIN_NO_SPEECH = 0.6  # probability from which improbable words count as silence
WARNING = "words repeat or are improbable, and another search found none better"
REPEATED = "words repeated without end: these are of a search that may not repeat them"
WITHOUT_KEYWORDS = "with keywords the words repeated, and were decoded without them"
FEW = "few words or none for {:.1f} s of speech"
SILENT = "no speech was heard, and improbable words were left out"


def mean_log_prob(found: Hypothesis) -> float:
    """Return the mean natural log-probability of the tokens, the closing one included."""
    return found.score / (len(found.token_ids) + found.ended or 1)


def compression(text: str) -> float:
    """Return by how much zlib compresses a text's UTF-8; 0 for an empty text."""
    data = text.encode()
    return len(data) / len(zlib.compress(data)) if data else 0.0


def is_doubtful(found: Hypothesis, pace: Pace) -> bool:
    """Return whether the words should be searched again."""
    return loops(found) or mean_log_prob(found) < MIN_LOG_PROB or pace.lacks_words(found.text)


def loops(found: Hypothesis) -> bool:
    """Return whether the words repeat themselves, or went on to the length limit."""
    return compression(found.text) > MAX_COMPRESSION or not found.ended


def is_endless_loop(found: Hypothesis, pace: Pace) -> bool:
    """Return whether the words loop, and are not a repetition that ends and fits the time of the speech."""
    return loops(found) and not (found.ended and pace.may_be_said(found.text))


def is_silence(found: Hypothesis, no_speech: float) -> bool:
    """Return whether improbable words stand where the base hears no speech."""
    return no_speech > MIN_NO_SPEECH and mean_log_prob(found) < MIN_LOG_PROB


def better(first: Hypothesis, second: Hypothesis, pace: Pace) -> Hypothesis:
    """Return the hypothesis with the lesser fault, else the more probable one by the token.

    A loop is worst, then words that are missing, then a repetition that may have been spoken.
    """

    def faults(found: Hypothesis) -> tuple[bool, bool, bool, float]:
        missing = pace.lacks_words(found.text)
        return is_endless_loop(found, pace), missing, loops(found), -mean_log_prob(found)

    return min(first, second, key=faults)
