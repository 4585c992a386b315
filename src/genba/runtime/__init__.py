"""A model on its machine: bundle, engine, policy, executor, loop, recorder.

Everything but ``export`` and ``torch_engine`` runs without torch. Read in this order: ``bundle``, ``engine``,
``policy``, ``executor``, ``loop``.
"""
