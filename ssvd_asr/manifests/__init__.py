"""Lists of recordings and of what is said in them: JSON manifests, tables, and the folders of other systems."""
