"""MetaDrive: procedurally made roads with traffic, an outside benchmark."""
