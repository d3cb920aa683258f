"""Word error rate of two domains on one manifest.

    python examples/compare_domains.py test.jsonl base child

A domain is a name in the store; `base` stands for none.
"""

import argparse
from pathlib import Path

from adapters_store.store import AdapterStore
from ssvd_asr import adapt, factorize, load_adapter, load_base
from training.evaluate import evaluate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("manifest", type=Path, help="JSONL lines of audio and text, or a Kaldi directory")
    parser.add_argument("domains", nargs=2, help="such as child or child@2, or base")
    parser.add_argument("--first", type=int, help="score only the first so many utterances")
    args = parser.parse_args()
    base = load_base()
    factors = factorize(base)
    adapted = adapt(base.network, factors)
    for domain in args.domains:
        cores = None
        if domain != "base":
            loaded = load_adapter(AdapterStore().resolve(domain).read_bytes(), base, factors)
            cores = loaded.adapter.to(base.device).cores(base.dtype)
        found = evaluate(base, args.manifest, adapted=adapted, cores=cores, first=args.first, progress=False)
        print(f"{domain}: WER {found.score.wer:.1%} of {found.score.reference_words} words, "
              f"{found.score.utterances} utterances")  # fmt: skip


if __name__ == "__main__":
    main()
