"""What makes data and models provable: content digests and canonical JSON (agreements, ledger, passport to come)."""
