"""Writers of foreign formats, one per file; the contract is ``spec.protocols.Writer``."""
