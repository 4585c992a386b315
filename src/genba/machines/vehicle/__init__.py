"""Vehicle: a car at an urban intersection."""
