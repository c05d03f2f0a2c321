"""Presets and their description, until the configuration package has them."""

import ast
import dataclasses
import inspect
import textwrap
from pathlib import Path
from typing import Any

_CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def preset_names() -> list[str]:
    """Names of the presets."""
    return sorted(path.stem for path in _CONFIGS.glob("*.yaml"))


def find_preset(name_or_path: str) -> Path:
    """File of a preset, or the path that was given."""
    path = Path(name_or_path)
    return _CONFIGS / f"{path.name}.yaml" if not path.suffix and len(path.parts) == 1 else path


def field_docs(config: type) -> dict[str, str]:
    """Attribute docstrings of a dataclass by field."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(body, ast.ClassDef)
    docs: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            docs[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return docs


def commented_yaml(config: Any, indent: str = "") -> str:
    """A configuration as YAML with the meaning of every setting."""
    lines, docs = "", field_docs(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        lines += "".join(f"{indent}# {line}\n" for line in docs.get(field.name, "").splitlines())
        if dataclasses.is_dataclass(value):
            lines += f"{indent}{field.name}:\n" + commented_yaml(value, f"{indent}  ")
        else:
            shown = (
                list(value) if isinstance(value, tuple) else str(value).lower() if isinstance(value, bool) else value
            )
            lines += f"{indent}{field.name}: {shown}\n"
    return lines
