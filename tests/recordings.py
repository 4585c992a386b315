"""A saved Rerun recording, read back with Rerun's own reader."""

import numpy as np

from genba.report.rerun_view import TIMELINE, load_rerun


def read_back(path):
    load_rerun()
    from rerun.chunk import RrdReader

    chunks = {}
    for chunk in RrdReader(path).stream().to_chunks():
        if not chunk.is_static:
            chunks.setdefault(str(chunk.entity_path).lstrip("/"), []).append(chunk.to_record_batch())
    return chunks


def column(batches, ending):
    """(times int64 [samples], list of each sample's values) of the component whose name ends so."""
    times, values = [], []
    for batch in batches:
        name = next(n for n in batch.schema.names if n.endswith(ending))
        times.append(batch.column(TIMELINE).cast("int64").to_numpy())
        values += batch.column(name).to_pylist()
    return np.concatenate(times), values
