"""A notebook and short scripts. Copy one and change it; each is run by a test."""
