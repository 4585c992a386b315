"""What makes data and models provable and keeps data with its owner.

``digest``: content digests and canonical JSON. ``keys``: one key per owner and data set, in files or elsewhere.
``envelope``: sealing blocks under a data key that such a key wraps. Agreements, ledger and passport are to come.
"""
