"""Reads what the writer ``parquet`` wrote: a folder of episodes, each a folder of Parquet files.

Other Parquet files are tables that need a mapping: see ``table``. The layout is in ``parquet_layout``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genba.config import read_toml
from genba.data.layout import metadata_from_json
from genba.data.parquet_layout import FACTS_NAME, FORMAT, INDEX_NAME, METADATA_NAME, STREAM_NAME, read_stream
from genba.data.readers.options import PROVENANCE, provenance
from genba.errors import ConfigError, FormatError
from genba.spec.embodiment import Embodiment
from genba.spec.episode import Episode, EpisodeMetadata

#: A longer JSON file is none of this layout.
_MAX_JSON_BYTES = 1 << 26


class ParquetReader:
    """Episodes that Genba wrote as Parquet."""

    name = "parquet"
    description = "a folder of episodes that the writer parquet wrote (genba-parquet.json in it)"
    options: Mapping[str, str] = {}

    def recognises(self, path: Path) -> bool:
        """Say whether ``path`` is such a folder."""
        return (Path(path) / INDEX_NAME).is_file()

    def embodiment(self, path: Path, **options: Any) -> Embodiment:
        """Return the facts that lie beside the episodes.

        Raises:
            FormatError: there are none, or they are damaged.
        """
        provenance(self, options)
        file = Path(path) / FACTS_NAME
        try:
            return read_toml(file, Embodiment)
        except (ConfigError, OSError, UnicodeDecodeError, RecursionError) as error:
            raise FormatError(file, f"not the facts of a machine: {error}") from error

    def read(self, path: Path, **options: Any) -> Iterator[Episode]:
        """Yield every episode, named and owned as it was when it was written, but for what the options say.

        Raises:
            FormatError: a file that is missing, damaged or of another format.
        """
        path = Path(path)
        provenance(self, options)
        given = {name: str(options[name]) for name in PROVENANCE if options.get(name) is not None}
        index = _json(path / INDEX_NAME)
        if not isinstance(index, dict) or index.get("format") != FORMAT or not isinstance(index.get("episodes"), list):
            raise FormatError(path / INDEX_NAME, f"expected the format {FORMAT} and a list of episodes")
        facts = self.embodiment(path)
        for name in index["episodes"]:
            # A name from a file must not lead out of the folder.
            if not isinstance(name, str) or not name.isalnum():
                raise FormatError(path / INDEX_NAME, f"got an episode's folder {name!r}, expected digits")
            folder = path / name
            metadata = _metadata(folder / METADATA_NAME, given)
            if metadata.embodiment_id != facts.id:
                got = metadata.embodiment_id
                raise FormatError(folder / METADATA_NAME, f"got an episode of {got!r}, expected one of {facts.id!r}")
            files = sorted(file for file in folder.glob("*.parquet") if STREAM_NAME.fullmatch(file.stem))
            yield Episode(metadata, {file.stem: read_stream(file) for file in files})


def _json(file: Path) -> Any:
    try:
        if file.stat().st_size > _MAX_JSON_BYTES:
            raise FormatError(file, f"got {file.stat().st_size} bytes, expected at most {_MAX_JSON_BYTES}")
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise FormatError(file, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise FormatError(file, f"not JSON: {error}") from error


def _metadata(file: Path, given: Mapping[str, str]) -> EpisodeMetadata:
    table = _json(file)
    try:
        metadata = metadata_from_json({**table, **given})
        texts = [
            getattr(metadata, name)
            for name in EpisodeMetadata.__slots__
            if name not in ("outcome", "calibration", "seed")
        ]
        if not all(isinstance(text, str) for text in texts) or not isinstance(metadata.seed, int):
            raise TypeError("a text or the seed has another type")
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise FormatError(file, f"not the metadata of an episode: {error!r}") from error
    return metadata
