"""The machines: one folder each, with the same file names."""
