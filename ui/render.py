"""HTML of the page. Text from outside is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ui.bars import found_out, other_parts
from ui.client import Catalogue, Domain, Transcript
from ui.files import downloads
from ui.lanes import kind_of, title_of
from ui.marks import against_each_other, against_truth, legend
from ui.words import aligned, compare

NANO = "owsm-nano"
REAL_BASE_FLAG = "--base espnet/owsm_v3.1_ebf_base"

PLAYABLE = "Choose a word to hear the recording from there."

HINT = "domain=auto would"  # in the server's hint that another domain suits a recording better
FIND_OUT_WOULD = "“Find out” would"

HEADER = """
<header class="ssvd-header">
  <h1>One speech model, many kinds of speakers</h1>
  <p>A recording is transcribed twice: by the model as it is, and by the same model with the small adapter of
  a domain, such as children. Errors are marked where it is known what was said, differences elsewhere.</p>
</header>
"""


def result(base: Transcript, other: Transcript | None, said: str | None, recording: str) -> str:
    """Return both transcripts with their marks and the legend, what was said if known, and what made them.

    `other` was asked for in a domain, or for the server to choose one. `recording` is the name of the
    recording, for the names of the downloads.
    """
    shown = sides(base, other)
    marked = _marked(shown, said)
    cards = [_card(words, each, said, recording) for words, each in zip(marked, shown, strict=True)]
    known = "" if said is None else _said(said)
    chosen = found_out(other) if other is not None and (other.choices or other.domain is None) else ""
    heard = [word for each in shown for word in each.words]
    how = hint(PLAYABLE) if any(word.start_s is not None for word in heard) else ""
    meaning = legend(known=said is not None, marked="".join(marked))
    told = _warnings(_of_the_server(base, other))
    about = f"{meaning}{how}{told}{_provenance(other or base)}"
    return f'{known}{chosen}<div class="ssvd-cards">{"".join(cards)}</div>{about}'


def sides(base: Transcript, other: Transcript | None) -> tuple[Transcript, ...]:
    """Return the transcripts that stand side by side: one alone where the server chose the base too."""
    if other is None:
        return (base,)
    return (other,) if kind_of(other) == "base" else (base, other)


def _marked(transcripts: Sequence[Transcript], said: str | None) -> list[str]:
    """Return the words of each transcript, marked against what was said, or against each other."""
    if said is not None:
        return [against_truth(aligned(said, each.text), each.words) for each in transcripts]
    compared = compare(transcripts[0].text, transcripts[-1].text)
    return [against_each_other(words, each.words) for words, each in zip(compared, transcripts, strict=False)]


def problem(message: str, reason: str | None = None) -> str:
    """Return an error message, and the server's own reason folded below it."""
    folded = ""
    if reason is not None:
        folded = f"<details><summary>What the server said</summary>{escape(reason)}</details>"
    return f'<div class="ssvd-problem" role="alert">{escape(message)}{folded}</div>'


def hint(message: str) -> str:
    """Return a hint on what to do next."""
    return f'<p class="ssvd-hint">{escape(message)}</p>'


def playing(name: str) -> str:
    """Return the line that names the visitor's own recording in the player."""
    return hint(f"Recording: {name}")


def progress(done: int, total: int) -> str:
    """Return how much of a recording is transcribed; a total of 0 says that it has not begun."""
    told = f"Transcribing: {done} of {total} pieces done." if total else "Transcribing …"
    bar = f'<progress max="{total}" value="{done}"></progress>' if total else "<progress></progress>"
    return f'<p class="ssvd-hint" role="status">{bar} {told}</p>'


def about_finding_out() -> str:
    """Return the line under the domain selector while the domain is left to the server."""
    return hint(
        "The server listens to the voice. Unless that tells enough, it also compares what the base model and "
        "the likeliest domains hear."
    )


def about_domain(domain: Domain | None) -> str:
    """Return the line under the domain selector."""
    if domain is None:
        return hint("Choose who is speaking.")
    origin = "built in" if domain.builtin else "published here"
    line = f"{domain.name}: version {domain.version}, {origin}."
    if domain.wer_before is not None and domain.wer_after is not None:
        line += (
            f" When it was trained, {_percent(domain.wer_before)} of the words were wrong without it and "
            f"{_percent(domain.wer_after)} with it, {_scored_on(domain)}."
        )
    return hint(line)


def _scored_on(domain: Domain) -> str:
    """Return of which recordings the error rates are. The page's examples are a few of them, or others."""
    many = "an unknown number of" if domain.scored_utterances is None else f"{domain.scored_utterances}"
    what = {
        "test": "test recordings, which it was not trained on",
        "valid": "validation recordings, by which it was also chosen",
    }.get(domain.scored_on or "", "recordings that its file does not name")
    return f"measured on {many} {what}"


def about_base(catalogue: Catalogue) -> str:
    """Return a note on the base model, with the limits of owsm-nano."""
    if catalogue.base != NANO:
        return f'<p class="ssvd-note">Base model: <code>{escape(catalogue.base)}</code></p>'
    return (
        f'<p class="ssvd-note"><strong>{NANO} is a demonstration model.</strong> It learned about a thousand '
        "words from a speech synthesiser, knows these and nothing else, and will not understand your own "
        "voice. To serve a real checkpoint, start the server with "
        f"<code>ssvd serve {REAL_BASE_FLAG}</code>.</p>"
    )


def _card(words: str, transcript: Transcript, said: str | None, recording: str) -> str:
    title, kind = title_of(transcript), kind_of(transcript)
    score = "" if said is None else f'<p class="ssvd-score">{_score(said, transcript.text)}</p>'
    return (
        f'<section class="ssvd-card ssvd-{kind}"><h3>{escape(title)}</h3>'
        f'<p class="ssvd-text" id="ssvd-{kind}-text">{words}</p>{score}'
        f"{downloads(transcript, recording)}</section>"
    )


def _of_the_server(base: Transcript, other: Transcript | None) -> list[str]:
    """Return what the server says, with the title of the one transcript that it is of where two differ.

    That a domain suits better than the base is no news beside one.
    """
    if other is None:
        return [each.replace(HINT, FIND_OUT_WOULD) for each in base.warnings]
    found = {each: [base] for each in base.warnings if HINT not in each}
    for each in other.warnings:
        found.setdefault(each, []).append(other)
    two = len(sides(base, other)) > 1
    return [
        each if len(of) > 1 or not two else f"{title_of(of[0])}: {each}"
        for each, of in ((each.replace(HINT, FIND_OUT_WOULD), of) for each, of in found.items())
    ]


def _warnings(sentences: Sequence[str]) -> str:
    """Return what the server says about the recording or the words, each sentence once."""
    lines = "".join(f"<li>{escape(sentence)}</li>" for sentence in dict.fromkeys(sentences))
    return (
        f'<ul class="ssvd-warnings" aria-label="What the server says about it">{lines}</ul>' if lines else ""
    )


def _said(reference: str) -> str:
    return (
        '<section class="ssvd-said"><h3>What was said</h3>'
        f'<p class="ssvd-text" id="ssvd-reference">{escape(reference)}</p></section>'
    )


def _score(reference: str, text: str) -> str:
    errors = sum(not step.right for step in aligned(reference, text))
    if errors == 0:
        return "every word right"
    return f"{errors} {'error' if errors == 1 else 'errors'} in the {len(reference.split())} words said"


def _provenance(made_by: Transcript) -> str:
    """Return the line with the base, the adapter and their digests. Whole digests are in the titles."""
    parts = [f"{escape(made_by.base)} {_digest(made_by.base_digest.removeprefix('sha256:'))}"]
    if made_by.domain is not None and made_by.sha256 is not None:
        version = "" if made_by.version is None else f" version {made_by.version}"  # a blend has none
        parts.append(f"{escape(made_by.domain)}{version} {_digest(made_by.sha256)}")
    if made_by.mixed:
        parts[-1] += f"; other parts with {other_parts(made_by)}"
    return f'<p class="ssvd-provenance" id="ssvd-provenance">Made by {" + ".join(parts)}</p>'


def _digest(sha256: str) -> str:
    return f'<code title="sha256:{escape(sha256)}">sha256:{escape(sha256[:12])}…</code>'


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"
