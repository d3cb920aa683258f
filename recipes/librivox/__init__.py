"""Recipe for five sentences of an audio book of LibriVox: a check that nothing is broken."""
