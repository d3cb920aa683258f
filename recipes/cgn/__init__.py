"""Recipe for CGN, Dutch of Flanders and the Netherlands: corpus, adapters, and the paper's rows."""
