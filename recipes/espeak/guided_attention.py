"""Guided attention: a loss that moves half of the cross-attention heads to CTC's alignment.

Attention finds a piece by its sound. If a sentence has the same sound twice, unguided attention jumped to the
other place: backward it looped, forward it skipped words. CTC is aligned by the time this loss is used. The
method follows Tachibana et al. (arXiv 1710.08969), with an alignment in place of their diagonal.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchaudio.functional import forced_align

PROMPT = 3  # <eng> <asr> (<notimestamps> | time): the decoder's outputs before the first piece
REACH = 2  # frames before and after a piece's own


def spoken_frames(log_probs: Tensor, pieces: Tensor) -> Tensor | None:
    """Return the frames of each piece on CTC's best path, widened by REACH: (L, T) bool.

    Returns None for no pieces, or too few frames for them.

    Args:
        log_probs: (T, V) of CTC; blank is 0.
        pieces: (L,) ids.
    """
    frames, length = len(log_probs), len(pieces)
    if length == 0 or length + int((pieces[1:] == pieces[:-1]).sum()) > frames:
        return None
    path = forced_align(log_probs[None], pieces[None].to(torch.int32), blank=0)[0][0]
    begins = (path != 0) & (path != torch.cat([path.new_zeros(1), path[:-1]]))
    index = begins.cumsum(0) - 1  # of the latest piece
    spoken = torch.zeros(length, frames + 2 * REACH, dtype=torch.bool)
    for frame in torch.nonzero(path).flatten().tolist():
        spoken[int(index[frame]), frame : frame + 2 * REACH + 1] = True
    return spoken[:, REACH : REACH + frames]


def guided_attention_loss(
    attentions: list[Tensor], ctc_log_probs: Tensor, lengths: Tensor, text_ctc: Tensor
) -> Tensor:
    """Return minus the log attention on each piece's own frames, summed over pieces, averaged over rows.

    Args:
        attentions: of each decoder layer, (B, heads, outputs, T); half of the heads are guided.
        ctc_log_probs: (B, T, V).
        lengths: (B,) frames of each row.
        text_ctc: (B, L) pieces, -1 padded.
    """
    total = ctc_log_probs.new_zeros(())
    for row, (log_probs, frames) in enumerate(zip(ctc_log_probs, lengths.tolist(), strict=True)):
        pieces = text_ctc[row][text_ctc[row] >= 0]
        spoken = spoken_frames(log_probs[:frames], pieces)
        if spoken is None:
            continue
        for attention in attentions:
            heads = attention.shape[1] // 2
            guided = attention[row, :heads, PROMPT : PROMPT + len(pieces), :frames]  # (heads, L, T)
            there = (guided * spoken).sum(-1)
            total = total - (there + 1e-6).log().sum() / heads / len(attentions)
    return total / len(text_ctc)
