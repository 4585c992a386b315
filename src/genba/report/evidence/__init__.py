"""The evidence pack: what an auditor asks for, in one signed folder that is checked offline.

::

    pack/
      index.html                   everything below for a person to read; needs nothing but itself
      manifest.json                an in-toto statement: every other file's digest, when and of what it was made, what is missing
      manifest.dsse.json           the same, signed by whoever made the pack
      party.json, keys/<name>.pub  who made it, whose keys that party believes
      ledger/                      the ledger as it is: entries, heads with countersignatures, passports, what was set aside
      ledger-check.json            what a check of it found
      proofs/<entry>.json          proofs that single entries are in it, to be handed on alone
      decisions.jsonl              the ledger's decisions, allowed and refused, with their policies' hash
      policies/<hash>.json         those policies: a file's digest is the hash
      rules/                       sites and agreements as they are now, in TOML and as ODRL
      egress/, egress.json         what each confined command tried to reach, and a summary by run
      revocations.json             the newest list of revoked models
      withdrawals/<id>/            receipts
      models/<passport>/           passport, blinded set, read record, sources, releases; ``bom.cdx.json``, ``training-content.json``
      datasets/<name>/             ``croissant.json``
      requirements.json            which file answers which clause of ISO/IEC 42001 and the AI Act, and what none answers

It is for an auditor: it names every owner. Private keys, blinding keys, data and weights are not in it. Each module below makes one part
from records that others wrote; nothing is measured or decided here. ``write`` puts it together, ``check`` looks at one that was handed over.
"""
