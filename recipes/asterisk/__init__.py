"""Recipe for the telephone prompts of Asterisk, by one American voice: prompts to manifests."""
