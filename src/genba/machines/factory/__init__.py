"""Factory: several lines, one component short."""
