"""YAML and dictionaries to the frozen dataclasses of `config`, strict about names and types (jsonargparse does it)."""

import dataclasses
import difflib
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from pydantic.dataclasses import is_pydantic_dataclass

from latentsdf.config.reconstruction import ReconstructConfig
from latentsdf.config.reconstruction_migration import migrate
from latentsdf.utils.errors import ConfigError

T = TypeVar("T")


def load(cls: type[T], path: Path | str, overrides: dict[str, Any] | None = None) -> T:
    """Read a YAML file that lists what differs from the defaults; `overrides` are dotted keys and their values."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such configuration file; the ones we ship are in configs/")
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected keys and values such as 'train:', got {values!r:.40}")
    if cls is ReconstructConfig:
        values = migrate(values)
    return from_dict(cls, merge(values, overrides or {}), source=str(path))


def merge(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """A copy of nested values with dotted overrides applied, for example {'train.steps': 100}.

    Raises ConfigError for a dot after a key that is no section.
    """
    # A section left empty in YAML is None; it changes nothing.
    values = {k: merge(v, {}) if isinstance(v, dict) else v for k, v in values.items() if v is not None}
    for name, value in overrides.items():
        *sections, key = name.split(".")
        target = values
        for section in sections:
            target = target.setdefault(section, {})
            if not isinstance(target, dict):
                raise ConfigError(f"unknown key '{name}': '{section}' is a value, not a section")
        target[key] = value
    return values


def from_dict(cls: type[T], values: dict[str, Any], source: str) -> T:
    """Build a configuration; raises ConfigError naming the source, the key, and what was expected."""
    values = merge(values, {})
    known = _known_keys(cls)
    for name in _flatten(values):
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            raise ConfigError(f"{source}: unknown key '{name}'" + (f"; did you mean '{close[0]}'?" if close else ""))
    if is_pydantic_dataclass(cls):
        try:
            return cls(**values)
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--settings", type=cls)
    try:
        parsed = parser.parse_object({"settings": _in_lists(cls, values)}, env=False)
    except ArgumentError as error:
        raise ConfigError(f"{source}: {_reason(error)}") from error
    settings: T = parser.instantiate(parsed)["settings"]
    return settings


_TYPES = {
    "float": "a number",
    "int": "a whole number",
    "str": "a text",
    "bool": "true or false",
    "tuple": "a list of numbers, such as '[1.0, 0.5]'",
}


def _reason(error: ArgumentError) -> str:
    """The parser's message in one line and in words: the key, what was expected, what came."""
    text = " ".join(str(error).replace("settings.", "").split())
    found = re.fullmatch(r'Parser key "(.+)": Expected an? (.+)\. Got value: (.*)', text)
    if found is None:
        return text
    key, expected, value = found.groups()
    kind = re.fullmatch(r"<class '(\w+)'>", expected)
    choices = re.fullmatch(r"typing\.Literal\[(.+)\]", expected)
    if kind is not None:
        expected = _TYPES.get(kind[1], kind[1])
    elif choices is not None:
        expected = f"one of {choices[1]}"
    return f"{key}: expected {expected}, got {value}"


def _in_lists(cls: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values, a number where several can be given as a list of one: a schedule that is constant."""
    listed = dict(values)
    for field in dataclasses.fields(cls):
        value = values.get(field.name)
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type) and isinstance(value, dict):
            listed[field.name] = _in_lists(field.type, value)
        elif field.type == tuple[float, ...] and type(value) in (int, float):
            listed[field.name] = [value]
    return listed


def _known_keys(cls: type, prefix: str = "") -> list[str]:
    keys: list[str] = []
    for field in dataclasses.fields(cls):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            keys += _known_keys(field.type, f"{prefix}{field.name}.")
        else:
            keys.append(f"{prefix}{field.name}")
    return keys


def _flatten(values: dict[str, Any], prefix: str = "") -> list[str]:
    names: list[str] = []
    for name, value in values.items():
        names += _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]
    return names
