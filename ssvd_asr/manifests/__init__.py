"""Lists of recordings and of what is said in them: JSON manifests, tables, folders of other systems."""
