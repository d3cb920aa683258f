"""Recipe for MyST, children's talk with a science tutor: corpus, adapters, and the paper's rows."""
