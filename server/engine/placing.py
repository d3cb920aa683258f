"""From the transcripts of pieces to segments with times in the request's audio."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from server.engine.messages import Decoded, Piece, PieceDecoding, SaidToken, TextSegment, Usage
from server.engine.segments import segments_of
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.decoding.align import TimedWord, shifted, text_of
from ssvd_asr.decoding.hypothesis import TimedText
from ssvd_asr.decoding.overlap import Heard, Seams
from ssvd_asr.transcription import Transcript

UNSURE_NATS = 10.0  # of doubt that is left: above it the reply warns (docs/serving.md)
MAX_DOUBT_NATS = 1e4  # told where CTC finds the words impossible


def placed(
    piece: Piece, transcript: Transcript, tokens: tuple[SaidToken, ...] = (), usage: Usage | None = None
) -> Decoded:
    """Convert times from the window to the request. `tokens` and `usage` are the piece's.

    Segments come from the base's own times, if it was asked for them, else from the words' times. A piece
    without any times is one segment, and so is one that overlaps others, with all that it heard.
    """
    hypothesis = transcript.hypothesis
    avg_logprob = hypothesis.score / (len(hypothesis.token_ids) + 1)  # the score includes <eos>
    end_s = piece.start_s + len(piece.wave) / SAMPLE_RATE
    words = shifted(transcript.words, piece.start_s)
    whole = TextSegment(piece.start_s, end_s, transcript.text.strip(), avg_logprob, words)
    stretch = f"{piece.start_s:.2f} to {end_s:.2f} s: "
    doubt = transcript.doubt_nats
    ctc = None if transcript.ctc is None else transcript.ctc.shifted(piece.start_s)
    told = None if doubt is None else min(doubt, MAX_DOUBT_NATS)  # JSON knows no infinity
    unsure = [] if told is None or told <= UNSURE_NATS else ["CTC finds other words far more likely"]
    segments: tuple[TextSegment, ...] = ()
    if whole.text and piece.overlaps:
        segments = (whole,)
    elif whole.text and hypothesis.segments:
        segments = _by_own_times(piece, hypothesis.segments, whole)
    elif whole.text:
        segments = _by_words(whole, words)
    return Decoded(
        transcript.text,
        segments,
        PieceDecoding(piece.start_s, end_s, transcript.search, told, transcript.language),
        tuple(stretch + warning for warning in (*transcript.warnings, *unsure)),
        Heard(words, piece.own_from_s, piece.own_to_s, ctc) if piece.overlaps else None,
        transcript.said,
        tokens=tokens,
        usage=usage or Usage(),
    )


class Joiner:
    """Gives each word that two pieces heard to one of them. Pieces that do not overlap stay as they are."""

    def __init__(self, timestamps: bool) -> None:
        """timestamps: whether the request asks for segments by the words' times. Otherwise a piece is one."""
        self._timestamps = timestamps
        self._seams = Seams()
        self._open: deque[Decoded] = deque()  # pieces whose words are not certain yet

    def take(self, decoded: Decoded) -> list[Decoded]:
        """Take the next piece of a request, and return those whose words are now certain, in order."""
        self._open.append(decoded)
        return self._with_own(self._seams.take(decoded.heard or Heard(())))

    def end(self) -> list[Decoded]:
        """Return the last piece, unless `take` has: no piece follows it."""
        return self._with_own(self._seams.end())

    def _with_own(self, own: Sequence[tuple[TimedWord, ...]]) -> list[Decoded]:
        settled = [(self._open.popleft(), words) for words in own]
        return [_with_words(each, words, self._timestamps) if each.heard else each for each, words in settled]


def _with_words(decoded: Decoded, words: tuple[TimedWord, ...], timestamps: bool) -> Decoded:
    """Return a piece with these of its words only."""
    assert decoded.heard is not None
    decoded = replace(decoded, tokens=_tokens_of(decoded.tokens, decoded.heard.words, words))
    text = text_of(words)
    if not words:
        return replace(decoded, text=text, segments=())
    whole = replace(decoded.segments[0], text=text)
    if timestamps:
        return replace(decoded, text=text, segments=_by_words(whole, words))
    return replace(decoded, text=text, segments=(replace(whole, words=()),))


def _tokens_of(
    tokens: Sequence[SaidToken], words: Sequence[TimedWord], kept: Sequence[TimedWord]
) -> tuple[SaidToken, ...]:
    """Return the tokens of the words that are kept, given those of all words in order."""
    rest = iter(tokens)
    found: list[SaidToken] = []
    for word in words:
        own = list(islice(rest, len(word.token_ids)))
        if any(word is each for each in kept):
            found += own
    return tuple(found)


def _by_words(whole: TextSegment, words: tuple[TimedWord, ...]) -> tuple[TextSegment, ...]:
    """Cut a piece into segments by the times of its words. Without times it is one segment."""
    if not words or any(word.start_s is None for word in words):
        return (replace(whole, words=words),)
    return segments_of(words, whole.avg_logprob)


def _by_own_times(
    piece: Piece, stretches: Sequence[TimedText], whole: TextSegment
) -> tuple[TextSegment, ...]:
    """Make segments of the stretches that the base timed itself, each with its share of the piece's words."""
    rest = list(whole.words)
    return tuple(
        replace(
            whole,
            # A model may predict times in the padding after the piece.
            start_s=min(piece.start_s + timed.start_s, whole.end_s),
            end_s=min(piece.start_s + timed.end_s, whole.end_s),
            text=timed.text,
            words=_taken(rest, timed.text),
        )
        for timed in stretches
    )


def _taken(rest: list[TimedWord], text: str) -> tuple[TimedWord, ...]:
    """Take the words of a text from the rest, by its letters: not every script has spaces."""
    letters, taken = len("".join(text.split())), 0
    words: list[TimedWord] = []
    while rest and taken < letters:
        words.append(rest.pop(0))
        taken += len("".join(words[-1].word.split()))
    return tuple(words)
