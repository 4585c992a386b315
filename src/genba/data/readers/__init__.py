"""Foreign log formats, one file each; every reader gives episodes in the terms of a registered embodiment."""
