"""From the transcripts of pieces to segments with times in the request's audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from server.engine.messages import Decoded, Piece, PieceDecoding, TextSegment
from server.engine.segments import segments_of
from ssvd_asr.audio.read import SAMPLE_RATE
from ssvd_asr.decoding.align import TimedWord, shifted
from ssvd_asr.decoding.hypothesis import TimedText
from ssvd_asr.decoding.overlap import Heard, own_words
from ssvd_asr.transcription import Transcript

UNSURE_NATS = 10.0  # of doubt that is left: above it the reply warns (docs/serving.md)
MAX_DOUBT_NATS = 1e4  # told where CTC finds the words impossible


def placed(piece: Piece, transcript: Transcript) -> Decoded:
    """Convert times from the window to the request.

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
    )


def joined(decoded: Sequence[Decoded], timestamps: bool) -> list[Decoded]:
    """Give each word that two pieces heard to one of them. Pieces that do not overlap stay as they are.

    Args:
        decoded: the pieces of a request, in order.
        timestamps: whether the request asks for segments by the words' times. Otherwise a piece is one.
    """
    own = own_words([each.heard or Heard(()) for each in decoded])
    return [
        _with_words(each, words, timestamps) if each.heard else each
        for each, words in zip(decoded, own, strict=True)
    ]


def _with_words(decoded: Decoded, words: tuple[TimedWord, ...], timestamps: bool) -> Decoded:
    """Return a piece with these of its words only."""
    text = " ".join(word.word for word in words)
    if not words:
        return replace(decoded, text=text, segments=())
    whole = replace(decoded.segments[0], text=text)
    if timestamps:
        return replace(decoded, text=text, segments=_by_words(whole, words))
    return replace(decoded, text=text, segments=(replace(whole, words=()),))


def _by_words(whole: TextSegment, words: tuple[TimedWord, ...]) -> tuple[TextSegment, ...]:
    """Cut a piece into segments by the times of its words. Without times it is one segment."""
    if not words or any(word.start_s is None for word in words):
        return (replace(whole, words=words),)
    return segments_of(words, whole.avg_logprob)


def _by_own_times(
    piece: Piece, stretches: Sequence[TimedText], whole: TextSegment
) -> tuple[TextSegment, ...]:
    """Make segments of the stretches that the base timed itself, each with its share of the piece's words."""
    rest = iter(whole.words)
    return tuple(
        replace(
            whole,
            # A model may predict times in the padding after the piece.
            start_s=min(piece.start_s + timed.start_s, whole.end_s),
            end_s=min(piece.start_s + timed.end_s, whole.end_s),
            text=timed.text,
            words=tuple(islice(rest, len(timed.text.split()))),
        )
        for timed in stretches
    )
