"""Study of adapters on real people's speech: Whisper-base on Dutch and Czech actors, by several methods.

    python -m recipes.real_speech

writes docs/results/real.jsonl and real.md. It takes hours on two cores and resumes where it stopped.
"""
