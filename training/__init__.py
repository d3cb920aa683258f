"""Training and evaluation: from audio and transcripts to an adapter file and its error rates."""
