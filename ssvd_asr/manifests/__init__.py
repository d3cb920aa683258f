"""Lists of recordings and what is said in them: JSONL manifests, Kaldi directories, lhotse cut sets."""
