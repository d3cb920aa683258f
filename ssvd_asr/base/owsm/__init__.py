"""OWSM as a base: ESPnet's network with our decoder, its tokens, prompts, rules, digest and files."""
