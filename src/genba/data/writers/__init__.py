"""Foreign formats that episodes are written as, one file each; what a format cannot hold is said, never dropped."""
