"""The one strict reader for facts in TOML, and its inverse.

A file is read into a frozen dataclass. An unknown key, a wrong type or a value out of range is refused with the file,
the path inside it, what was got and what was expected; the nearest known key is named. It holds no defaults and no
knowledge of what the facts mean: that is in the dataclass.

Read next: ``genba.spec.embodiment``, the largest set of facts.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tomllib
import types
import typing
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from genba.errors import ConfigError, nearest

T = TypeVar("T")


def read_toml(path: Path | str, cls: type[T]) -> T:
    """Read ``path`` strictly into the dataclass ``cls``.

    Raises:
        ConfigError: the file is missing or unreadable, is not TOML, or does not fit ``cls``.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected a TOML file with {cls.__name__} facts") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; expected a TOML file with {cls.__name__} facts") from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text ({error}); expected a TOML file with {cls.__name__} facts"
        ) from error
    return read_toml_text(text, cls, where=str(path))


def read_toml_text(text: str, cls: type[T], *, where: str) -> T:
    """Read TOML ``text`` strictly into ``cls``; ``where`` names its source in errors."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where}: not valid TOML: {error}") from error
    return build(table, cls, where=where, path="")


def build(table: Any, cls: type[T], *, where: str, path: str) -> T:
    """Build the dataclass ``cls`` from a mapping of plain values.

    Raises:
        ConfigError: naming ``where``, the dotted ``path``, the value got and what was expected.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"{where}: {path or 'top level'}: got {_show(table)}, expected a table of {cls.__name__}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    keys = {field.metadata.get("key", name): name for name, field in fields.items()}
    for key in table:
        if key not in keys:
            raise ConfigError(f"{where}: {_join(path, key)}: unknown key{nearest(key, keys)}")
    values: dict[str, Any] = {}
    for key, name in keys.items():
        field = fields[name]
        if key in table:
            values[name] = _convert(table[key], hints[name], where=where, path=_join(path, key))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: {_join(path, key)}: missing; expected {_name(hints[name])}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {path or 'top level'}: {error}") from error


def to_toml(facts: Any) -> str:
    """Write a dataclass of facts as TOML that ``read_toml_text`` reads back to an equal one.

    Values that equal their field's default are left out.
    """
    plain, tables = [], []
    for key, value in _given(facts):
        if dataclasses.is_dataclass(value):
            lines = [f"{name} = {_inline(inner)}" for name, inner in _given(value)]
            tables.append("\n".join([f"\n[{key}]", *lines]))
        elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
            for row in value:
                lines = [f"{name} = {_inline(inner)}" for name, inner in _given(row)]
                tables.append("\n".join([f"\n[[{key}]]", *lines]))
        else:
            plain.append(f"{key} = {_inline(value)}")
    return "\n".join([*plain, *tables]) + "\n"


def _given(facts: Any) -> list[tuple[str, Any]]:
    """Return (key, value) of every field that does not stand at its default."""
    out = []
    for field in dataclasses.fields(facts):
        value = getattr(facts, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if field.init and value != default:
            out.append((field.metadata.get("key", field.name), value))
    return out


def _inline(value: Any) -> str:
    if dataclasses.is_dataclass(value):
        return "{ " + ", ".join(f"{key} = {_inline(inner)}" for key, inner in _given(value)) + " }"
    if isinstance(value, tuple):
        return "[" + ", ".join(_inline(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # A JSON string is a TOML basic string, but for the one control character that JSON does not escape.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, date):
        return value.isoformat()
    return repr(value)


def _convert(value: Any, hint: Any, *, where: str, path: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = [arg for arg in args if arg is not type(None)]
        return _convert(value, inner[0], where=where, path=path)
    if origin is Literal:
        if value not in args:
            raise _wrong(where, path, value, "one of " + ", ".join(repr(a) for a in args))
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, path, value, f"a list of {_name(args[0])}")
        return tuple(_convert(item, args[0], where=where, path=f"{path}[{i}]") for i, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return build(value, hint, where=where, path=path)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if hint is float and isinstance(value, float) and not math.isfinite(value):
        raise _wrong(where, path, value, "a finite number")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise _wrong(where, path, value, _name(hint))
    return value


def _wrong(where: str, path: str, value: Any, expected: str) -> ConfigError:
    return ConfigError(f"{where}: {path}: got {_show(value)}, expected {expected}")


def _show(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _name(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"a list of {_name(get_args(hint)[0])}"
    return {
        str: "a string",
        int: "an integer",
        float: "a number",
        bool: "true or false",
        date: "a date such as 2027-03-31",
    }.get(hint, getattr(hint, "__name__", str(hint)))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
