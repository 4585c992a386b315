"""Closed-loop judgement: many episodes, frozen seeds, an independent verifier, intervals, one result file.

It judges what is deployed (a bundle, an expert, a baseline) and never imports training or torch. Read in this order:
``rollout``, ``collect``, ``pool``, ``worker``, ``metrics``, ``results``.
"""
