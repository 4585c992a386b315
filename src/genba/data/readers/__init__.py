"""Foreign log formats, one file each; every reader gives episodes in terms of registered facts or of ones derived from the log."""
