"""Recipe for Tux Paint's stamps, described aloud in many languages: descriptions to manifests."""
