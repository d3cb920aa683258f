"""What the recipes of the paper's two corpora share: counting utterances, training, the paper's figures."""
