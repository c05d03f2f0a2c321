"""Configuration dataclasses as command-line settings: `--section.setting VALUE`.

`settings_type` builds, for a configuration dataclass, a dataclass of the same structure whose fields hold the
unparsed arguments of the command line. Only settings that were given are applied to a configuration
(`given_settings`), so that the defaults may come from a preset or a checkpoint that is known only after parsing. The
configuration dataclass then checks all values at once.
"""

import dataclasses
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from latentsdf.config import loader
from latentsdf.config.migration import migrate
from latentsdf.utils.attribute_docs import attribute_docs
from latentsdf.utils.errors import ConfigError

TOP_LEVEL = tyro.conf.arg(name="")
"""Marker for the settings field of a command: its sections become flags without a prefix."""


class _Default(tuple[str, ...]):
    """Arguments of a default that `--help` shows. A setting with this type was not given on the command line."""

    __slots__ = ()


def settings_type(config: type, *, without: Sequence[str] = ()) -> type:
    """Build a dataclass with a field of command-line arguments for every setting of a configuration dataclass.

    Args:
        config: A configuration dataclass; its attribute docstrings become the help texts.
        without: Top-level settings for which the command has arguments of its own.
    """
    hints, texts = typing.get_type_hints(config), attribute_docs(config)
    fields: list[Any] = []
    for field in dataclasses.fields(config):
        kind = hints[field.name]
        if field.name in without:
            continue
        if dataclasses.is_dataclass(kind):
            section = settings_type(typing.cast(type, kind))
            section.__doc__ = texts.get(field.name, section.__doc__)
            fields.append((field.name, section, dataclasses.field(default_factory=section)))
            continue
        rule = PrimitiveConstructorSpec(
            nargs="*" if typing.get_origin(kind) is tuple else 1,
            metavar=_metavar(kind),
            instance_from_str=tuple,
            is_instance=lambda _: True,
            str_from_instance=list,
            choices=typing.get_args(kind) if typing.get_origin(kind) is Literal else None,
        )
        args = Annotated[tuple[str, ...], rule, tyro.conf.arg(help=texts.get(field.name, ""))]
        fields.append((field.name, args, dataclasses.field(default=_Default())))
    built = dataclasses.make_dataclass(f"{config.__name__}Settings", fields, frozen=True)
    built.__doc__ = (config.__doc__ or "").partition("\n")[0]
    return built


def with_defaults(settings: type, config: Any) -> Any:
    """Return settings for which `--help` shows the values of a configuration as defaults.

    Args:
        settings: A class that `settings_type` returned.
        config: The configuration.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(field.type):
            values[field.name] = with_defaults(typing.cast(type, field.type), value)
        else:
            values[field.name] = _Default(_format_args(value))
    return settings(**values)


def shown_default(text: str) -> tuple[str, ...]:
    """Return a default that `--help` shows as a text."""
    return _Default(text.split())


def given_settings(settings: Any, config: type, prefix: str = "") -> dict[str, Any]:
    """Return the values of the settings that were given, by dotted name.

    Args:
        settings: Instance of a class that `settings_type` returned.
        config: The configuration dataclass, which determines the types of the values.
        prefix: Prefix of the names.

    Raises:
        ConfigError: A value cannot be parsed.
    """
    hints = typing.get_type_hints(config)
    given: dict[str, Any] = {}
    for field in dataclasses.fields(settings):
        name, value = f"{prefix}{field.name}", getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            given |= given_settings(value, hints[field.name], f"{name}.")
        elif not isinstance(value, _Default):
            given[name] = _parse(name, value, hints[field.name])
    return given


def migrate_setting(config: type, flag: str, args: Sequence[str]) -> dict[str, list[str]] | None:
    """Convert a setting of an earlier version to its current name.

    Args:
        config: The configuration dataclass.
        flag: Flag of the setting, such as `--loss.divergence`.
        args: Command-line arguments that follow the flag; the first one is its value.

    Returns:
        Current flags with their values, and none for a setting that was removed; None if the flag is not one of an
        earlier version.
    """
    name = flag[2:].replace("-", "_")
    if not args:
        return None
    values: Any = _parse_value(name, args[0])
    for key in reversed(name.split(".")):
        values = {key: values}
    current = dict(_flatten(migrate(config, values)))
    if name in current:
        return None
    rest = list(args[1:])
    return {f"--{key.replace('_', '-')}": [*_format_args(value), *rest] for key, value in current.items()}


def with_settings(base: Any, given: dict[str, Any]) -> Any:
    """Return a configuration with some settings replaced, and validate it as a whole.

    Args:
        base: The configuration.
        given: Values by dotted name, such as `{"train.steps": 100}`.

    Raises:
        ConfigError: A setting is unknown, or a value is not valid.
    """
    return loader.from_dict(type(base), loader.merge(loader.to_dict(base), given), "command line")


def print_config(config: Any) -> None:
    """Print a configuration as YAML with the meaning of every setting."""
    from latentsdf.config.describe import describe

    sys.stdout.write(describe(config))


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _metavar(kind: Any) -> str:
    if typing.get_origin(kind) is Literal:
        return "{" + ",".join(typing.get_args(kind)) + "}"
    if typing.get_origin(kind) is tuple:
        one = _metavar(typing.get_args(kind)[0])
        return f"{one} [{one} ...]"
    if typing.get_origin(kind) is dict:
        return "{NAME: VALUE, ...}"
    return {bool: "{true,false}", int: "INT", float: "FLOAT", Path: "PATH"}.get(kind, "STR")


def _format_args(value: Any) -> tuple[str, ...]:
    if isinstance(value, tuple | list):
        return tuple(token for one in value for token in _format_args(one))
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, dict):
        return ("{" + ", ".join(f"{name}: [{', '.join(_format_args(one))}]" for name, one in value.items()) + "}",)
    return (f"{value:g}" if isinstance(value, float) else str(value),)


def _parse(name: str, args: tuple[str, ...], kind: Any) -> Any:
    if typing.get_origin(kind) is Literal or kind is str:
        return args[0]
    values = [_parse_value(name, token) for token in args]
    if typing.get_origin(kind) is not tuple:
        return values[0]
    return values[0] if len(values) == 1 and isinstance(values[0], list) else values


def _parse_value(name: str, word: str) -> Any:
    """Parse a number, true or false, or a list such as '[1.0, 0.5]'."""
    for number in (int, float):
        try:
            return number(word)
        except ValueError:
            pass
    try:
        return loader.parse_yaml(word)
    except ValueError as error:
        flag = f"--{name.replace('_', '-')}"
        raise ConfigError(f"{flag}: '{word}' is not a valid value; lists are written as '[1.0, 0.5]'") from error
