"""Reads configurations from YAML and dictionaries, finds the presets shipped with the package, and writes YAML."""

import dataclasses
import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import yaml

from latentsdf.config.migration import migrate
from latentsdf.config.validation import did_you_mean
from latentsdf.utils.errors import ConfigError

T = TypeVar("T")

MAX_BYTES = 65_536
"""Largest configuration file that is read."""
MAX_DEPTH = 16
"""Deepest nesting of a configuration."""

_PACKAGE = Path(__file__).resolve().parents[1]

# Numbers in exponent form that YAML 1.1 reads as strings, such as 1e-3.
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")


def load(cls: type[T], path: Path | str, overrides: dict[str, Any] | None = None) -> T:
    """Read a YAML file that lists the settings that differ from the defaults.

    Args:
        cls: A configuration dataclass, such as `Config`.
        path: The YAML file. Files written by latentsdf 0.1 are migrated.
        overrides: Dotted keys and values that replace those of the file, such as `{"train.steps": 100}`.

    Returns:
        The configuration.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: The file is not YAML, or a key or value is not valid; the message names the file and the key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such configuration file; presets are named without a suffix: {', '.join(preset_names())}"
        )
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    return parse(cls, data, str(path), overrides)


def parse(cls: type[T], data: bytes, source: str, overrides: dict[str, Any] | None = None) -> T:
    """Read the content of a YAML file.

    Args:
        cls: A configuration dataclass, such as `Config`.
        data: Content of the file.
        source: Name of the file in error messages.
        overrides: As for `load`.

    Raises:
        ConfigError: As for `load`.
    """
    try:
        values = parse_yaml(data) or {}
    except ValueError as error:
        raise ConfigError(f"{source}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{source}: expected keys and values such as 'train:', got {values!r:.40}")
    return from_dict(cls, merge(values, overrides or {}), source=source)


def parse_yaml(data: bytes | str) -> Any:
    """Parse YAML of plain values, without anchors and aliases, which can describe values of any size in a few lines.

    Raises:
        ValueError: The text is not YAML, has an anchor or alias, is longer than `MAX_BYTES`, or is nested deeper than
            `MAX_DEPTH`.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"expected at most {MAX_BYTES:,} bytes, got more")
    try:
        text = data.decode() if isinstance(data, bytes) else data
        return yaml.load(text, Loader=_PlainLoader)
    # Besides YAMLError: ValueError for impossible dates and integers of thousands of digits.
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError, KeyError, IndexError) as error:
        raise ValueError(str(error)) from error


class _PlainLoader(yaml.SafeLoader):
    """Loader of plain values."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node, refusing anchors, aliases and deep nesting."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise yaml.YAMLError("anchors (&) and aliases (*) are not allowed")
        if self.depth >= MAX_DEPTH:
            raise yaml.YAMLError(f"nested deeper than {MAX_DEPTH} levels")
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping, refusing a key that occurs twice, of which YAML would keep the last value."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        repeated = next((name for number, name in enumerate(names) if name in names[:number]), None)
        if repeated is not None:
            raise yaml.YAMLError(f"the key '{repeated:.40}' occurs twice")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def merge(values: dict[str, Any], overrides: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of nested values with dotted overrides applied, for example `{"train.steps": 100}`.

    Raises:
        ConfigError: A dot follows a key that is not a section.
    """
    # An empty section of a YAML file is None.
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
    """Build a configuration from nested values; omitted settings have their defaults.

    Args:
        cls: A configuration dataclass.
        values: Nested dictionaries, of this version or of latentsdf 0.1.
        source: File or other origin of the values, for error messages.

    Raises:
        ConfigError: A key or value is not valid. The message names the source, the key, the expected and the actual
            value.
    """
    try:
        values = migrate(cls, merge(values, {}))
        _require_known(cls, values)
        return cls(**_with_defaults(cls, values))
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def to_dict(config: Any) -> dict[str, Any]:
    """Return a configuration as nested dictionaries of plain values; a constant schedule is a single number."""
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        values[field.name] = to_dict(value) if dataclasses.is_dataclass(value) else _plain(value)
    return values


def _plain(value: Any) -> Any:
    """Convert the tuples in the value of a setting; a tuple of one becomes a number."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return value[0] if len(value) == 1 else list(value)
    return value


def to_yaml(config: Any) -> str:
    """Return a configuration as YAML that `load` reads."""
    return yaml.safe_dump(to_dict(config), sort_keys=False)


def preset_names() -> list[str]:
    """Return the names of the presets for `latentsdf train --config NAME`, sorted."""
    return sorted(path.stem for path in _preset_folder().glob("*.yaml"))


def find_preset(name_or_path: Path | str) -> Path:
    """Return the YAML file of a preset, or a path unchanged.

    A word without a suffix and without a path separator is the name of a preset; anything else is a path.

    Raises:
        ConfigError: There is no preset of this name.
    """
    path = Path(name_or_path)
    if path.suffix or len(path.parts) != 1 or str(name_or_path) != path.name:
        return path
    preset = _preset_folder() / f"{path.name}.yaml"
    if not preset.is_file():
        names = preset_names()
        close = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
        guess = f"did you mean '{close[0]}'? " if close else ""
        raise ConfigError(
            f"unknown preset '{path.name}'; {guess}Presets: {', '.join(names)}. The path of a file has a suffix or a "
            f"separator, such as ./{path.name}"
        )
    return preset


def _preset_folder() -> Path:
    """Return `latentsdf/presets` of an installed wheel, or `configs` of a source checkout."""
    shipped = _PACKAGE / "presets"
    return shipped if shipped.is_dir() else _PACKAGE.parent / "configs"


def _require_known(cls: type, values: dict[str, Any]) -> None:
    known = list(_keys_of(cls))
    for name in _keys_in(cls, values):
        if name not in known:
            raise ConfigError(f"unknown key '{name}'{did_you_mean(name, known)}")


def _keys_of(cls: type, prefix: str = "") -> Iterator[str]:
    """Dotted names of all sections and settings of a configuration dataclass."""
    for field in dataclasses.fields(cls):
        section = _section(field)
        yield f"{prefix}{field.name}"
        if section is not None:
            yield from _keys_of(section, f"{prefix}{field.name}.")


def _keys_in(cls: type, values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Dotted names of nested values. A plain value in place of a section is reported by the type validation."""
    sections = {field.name: _section(field) for field in dataclasses.fields(cls)}
    for name, value in values.items():
        section = sections.get(name)
        if section is None:
            yield f"{prefix}{name}"
        elif isinstance(value, dict):
            yield from _keys_in(section, value, f"{prefix}{name}.")


def _with_defaults(cls: type, values: dict[str, Any], default: Any = None) -> dict[str, Any]:
    """Complete values by defaults. A section has the defaults of the class that contains it, not those of its class."""
    default = cls() if default is None else default
    complete: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        section, value = _section(field), getattr(default, field.name)
        if field.name not in values:
            complete[field.name] = value
        elif section is not None and isinstance(values[field.name], dict):
            complete[field.name] = _with_defaults(section, values[field.name], value)
        else:
            complete[field.name] = _as_number(values[field.name])
    return complete


def _as_number(value: Any) -> Any:
    if isinstance(value, list):
        return [_as_number(part) for part in value]
    if isinstance(value, dict):
        return {name: _as_number(part) for name, part in value.items()}
    return float(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def _section(field: "dataclasses.Field[Any]") -> type | None:
    """The dataclass of a section, or None for a setting."""
    return field.type if isinstance(field.type, type) and dataclasses.is_dataclass(field.type) else None
