"""What makes data and models provable and keeps data with its owner.

``digest``: content digests and canonical JSON. ``keys``: one key per owner and data set, in files or elsewhere.
``pkcs11``: the same keys in a token. ``envelope``: sealing blocks under a data key that such a key wraps.
``agreements`` and ``sites``: what owners allow and where; ``odrl`` and ``cedar`` are their other forms. ``requests``, ``decide`` and
``decisions``: what may be asked, the answer with its reasons, and recording it. ``folder``: who this party is, its rules, ledger and keys. ``signing`` and ``dsse``: who said what. ``merkle``,
``ledger``, ``heads``, ``audit``, ``proofs``: an append-only log that a stranger can check. ``passport``, ``origin``, ``revocation``,
``revoking``, ``trained_on``, ``terms``, ``release``: what a model was made from, where it may run, and what says that it must not. ``machine``: what
a machine believes. ``sandbox``: what a process may reach.
"""
