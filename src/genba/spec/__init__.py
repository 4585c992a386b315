"""The nouns of Genba, named once: units, streams, embodiments, observations, actions, episodes, tasks, protocols.

Nothing here imports torch. Read in this order: ``streams``, ``embodiment``, ``observation``, ``action``, ``episode``,
``protocols``, ``task``, ``statistics``, ``normalise``, ``conformance``.
"""
