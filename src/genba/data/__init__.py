"""Machine logs in, any window out: readers, the vault, the catalog, windows, statistics and mixtures."""
