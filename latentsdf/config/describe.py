"""Descriptions of configurations: dotted name, default, accepted values and documentation of each setting.

The documentation of a setting is its attribute docstring, read from the source of the configuration class.
"""

import dataclasses
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import TypeAdapter

from latentsdf.config.loader import to_dict
from latentsdf.utils.attribute_docs import attribute_docs

_WIDTH = 100


@dataclass(frozen=True)
class Setting:
    """One setting of a configuration class, or a section of settings."""

    name: str
    """Dotted name, such as `train.steps`."""
    default: Any
    """Default as a plain value; None for a section."""
    accepted: str
    """Accepted values, such as `Integer, at least 1.`; empty for a section."""
    doc: str
    """Documentation in one paragraph."""


def settings(config: Any) -> Iterator[Setting]:
    """Yield the sections and settings of a configuration in the order of their definition.

    Args:
        config: A configuration; its values are the defaults of the result.
    """
    yield from _settings(config, "")


def describe(config: Any) -> str:
    """Return a configuration as YAML in which a comment documents each setting; `loader.load` reads it."""
    lines = [f"# {line}" for line in textwrap.wrap(_class_doc(type(config)), _WIDTH)]
    for setting in settings(config):
        depth = setting.name.count(".")
        indent = "  " * depth
        key = setting.name.rsplit(".", 1)[-1]
        if setting.default is None or depth == 0:
            lines.append("")
        comment = [*textwrap.wrap(setting.doc, _WIDTH - len(indent)), *filter(None, [setting.accepted])]
        lines += [f"{indent}# {line}" for line in comment]
        lines.append(f"{indent}{key}:" + ("" if setting.default is None else f" {_inline(setting.default)}"))
    return "\n".join(lines) + "\n"


def _settings(config: Any, prefix: str) -> Iterator[Setting]:
    docs, values = attribute_docs(type(config)), to_dict(config)
    schema = TypeAdapter(type(config)).json_schema()["properties"]
    for field in dataclasses.fields(config):
        name, value = f"{prefix}{field.name}", getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield Setting(name, None, "", docs.get(field.name) or _class_doc(type(value)))
            yield from _settings(value, f"{name}.")
        else:
            yield Setting(name, values[field.name], _accepted(schema[field.name]), docs.get(field.name, ""))


def _accepted(schema: dict[str, Any]) -> str:
    """Describe the accepted values of a setting, from its JSON schema."""
    if "enum" in schema:
        return f"One of {', '.join(map(str, schema['enum']))}."
    if schema["type"] == "object":
        return f"Names, each with a value: {_accepted(schema['additionalProperties'])}"
    if schema["type"] == "array":
        kind = "integers" if schema["items"]["type"] == "integer" else "numbers"
        name = "Number or schedule" if "minItems" in schema else f"List of {kind}"
        return f"{name}{_bounds(schema['items'])}."
    kinds = {"integer": "Integer", "number": "Number", "boolean": "true or false", "string": "String"}
    return f"{kinds[schema['type']]}{_bounds(schema)}."


def _bounds(schema: dict[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    return "".join(f", {word} {schema[key]:g}" for key, word in words.items() if key in schema)


def _inline(value: Any) -> str:
    """Format a plain value as one line of YAML."""
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("...\n").strip()


def _class_doc(cls: type) -> str:
    """Return the first paragraph of a class docstring in one line."""
    return " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
