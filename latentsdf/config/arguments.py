"""Checks of the arguments of public functions, so that a wrong value is reported by its name and not from the inside.

`check_arguments` decorates a function: arguments annotated with numbers, texts, paths, choices (`Literal`) and
configurations must have these types. `with_options` builds a configuration from keyword arguments.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from latentsdf.config.validation import describe_error, did_you_mean
from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NAMES: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "True or False",
    str: "a string",
    Path: "a path",
    NoneType: "None",
}


def check_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that arguments of simple types are checked before it runs.

    Simple are `int`, `float`, `bool`, `str`, `Path`, `None`, `Literal`, plain classes, `Annotated` types of
    `config.validation`, and unions of these. Whole numbers are accepted for `float` and NumPy scalars for numbers;
    `bool` is no number, and NaN and infinity are refused. Other parameters, such as arrays, are left to the function.

    Args:
        function: The function or method.

    Returns:
        The function; it raises `ConfigError` that names the argument, what was expected, and what came, or, for an
        unknown keyword, a similar argument.
    """
    signature = inspect.signature(function)
    checks = {
        name: functools.partial(_check, name, parameter.annotation, _validator(parameter.annotation))
        for name, parameter in signature.parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and _is_simple(parameter.annotation)
    }

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:
            for name in kwargs.keys() - signature.parameters.keys():
                known = [parameter for parameter in signature.parameters if parameter not in ("self", "cls")]
                guess = _suggestion(name, known, "arguments")
                raise ConfigError(f"unknown argument '{name}' of {function.__name__}{guess}") from None
            return function(*args, **kwargs)  # Python's own message names the function and what is missing
        for name in checks.keys() & bound.arguments.keys():
            bound.arguments[name] = checks[name](bound.arguments[name])
        return function(*bound.args, **bound.kwargs)

    return checked


def with_options(
    cls: type[T], config: T | None, options: Mapping[str, Any], default: Callable[[], T] | None = None
) -> T:
    """Return a configuration with some settings replaced by keyword arguments.

    Args:
        cls: Configuration dataclass.
        config: Configuration to start from; None for the default.
        options: Settings by name.
        default: Returns the default; `cls()` if omitted.

    Returns:
        The configuration.

    Raises:
        ConfigError: `config` is of another class, a setting is unknown (the message suggests a similar one), or a value
            is out of its range.
    """
    if config is not None and not isinstance(config, cls):
        raise ConfigError(
            f"config must be {_article(cls.__name__)}, got {describe(config)}; settings can also be given as keywords"
        )
    base = config if config is not None else (default or cls)()
    known = [field.name for field in dataclasses.fields(cls)]  # type: ignore[arg-type]
    for name in options:
        if name not in known:
            raise ConfigError(f"unknown setting '{name}' of {cls.__name__}{_suggestion(name, known, 'settings')}")
    values = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    return dataclasses.replace(base, **values) if values else base  # type: ignore[type-var]


def _suggestion(name: str, known: Sequence[str], kind: str) -> str:
    return did_you_mean(name, known) or f"; {kind} are {', '.join(known)}"


def _is_simple(annotation: Any) -> bool:
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_simple(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return all(_is_simple(part) for part in get_args(annotation))
    if origin is Literal or annotation is None or annotation in _NAMES:
        return True
    return _is_class(annotation)


def _is_class(annotation: Any) -> bool:
    """Return whether an annotation is a class without type parameters or shapes."""
    if not isinstance(annotation, type) or get_origin(annotation) is not None:
        return False
    unspecific = annotation in (Any, object, inspect.Parameter.empty)
    return not (unspecific or annotation.__module__.startswith("jaxtyping"))


def _validator(annotation: Any) -> Callable[[Any], Any]:
    """Return a strict validator; objects of plain classes are accepted as they are."""
    if _is_class(annotation) and annotation not in _NAMES:
        return lambda value: _require_instance(annotation, value)
    if get_origin(annotation) in (Union, UnionType):
        parts = [(part, _validator(part)) for part in get_args(annotation)]
        return lambda value: _validate_union(parts, value)
    adapter: TypeAdapter[Any] = TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
    return adapter.validate_python


def _require_instance(cls: type, value: Any) -> Any:
    if not isinstance(value, cls):
        raise TypeError
    return value


def _validate_union(parts: list[tuple[Any, Callable[[Any], Any]]], value: Any) -> Any:
    in_range: Exception = TypeError()
    for _, validate in parts:
        try:
            return validate(value)
        except (ValidationError, TypeError) as error:
            if isinstance(error, ValidationError) and _is_range_error(error):
                in_range = error
    raise in_range


def _check(name: str, annotation: Any, validate: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, str | Path) and "\0" in str(value):
        raise ConfigError(f"{name}: a string must not contain a null character, got {describe(value)}")
    try:
        validate(value)
    except (ValidationError, TypeError) as error:
        if isinstance(error, ValidationError) and _is_range_error(error):
            raise ConfigError(describe_error({**error.errors()[0], "loc": (name,)})) from None
        raise ConfigError(f"{name}: expected {_expectation(annotation)}, got {describe(value)}") from None
    return value


def _is_range_error(error: ValidationError) -> bool:
    kinds = ("greater_than", "less_than", "finite_number")
    return len(error.errors()) == 1 and error.errors()[0]["type"].startswith(kinds)


def _expectation(annotation: Any) -> str:
    """Describe the values that an annotation accepts."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _expectation(parts[0])
    if origin is Literal:
        return "one of " + ", ".join(repr(part) for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(_expectation(part) for part in parts)
    return _NAMES.get(annotation) or ("None" if annotation is None else _article(annotation.__name__))


def _article(name: str) -> str:
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"
