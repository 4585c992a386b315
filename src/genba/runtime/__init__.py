"""A model on its machine: bundle, engine, policy, executor, loop, recorder.

Everything but ``export`` and ``torch_engine`` runs without torch. Read in this order: ``bundle``, ``engine``,
``policy``, ``executor``, ``loop``. Whether a bundle may act at all is in ``clearance``.
"""

import os

#: Since 1.32 onnxruntime on Linux reports sessions and their host to its maker unless it is told not to before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
