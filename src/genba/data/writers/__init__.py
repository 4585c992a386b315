"""Formats that episodes are written in for other people and their tools, one file each; the vault's own is ``shard``."""
