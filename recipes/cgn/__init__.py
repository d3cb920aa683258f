"""CGN, Dutch of Flanders and the Netherlands: from the corpus on disk to an adapter and the paper's row."""
