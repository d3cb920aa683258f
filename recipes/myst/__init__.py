"""MyST, children talking with a science tutor: from the corpus on disk to an adapter and the paper's row."""
