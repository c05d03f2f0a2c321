"""Checks of arguments of simple types, and configurations from keywords."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from latentsdf.config.arguments import check_arguments, with_options
from latentsdf.config.inversion import InvertConfig, RefineConfig
from latentsdf.config.validation import PositiveInt, Seed
from latentsdf.utils.errors import ConfigError


@check_arguments
def _function(
    shape: Any,
    count: PositiveInt = 1,
    seed: Seed = 0,
    share: float = 0.5,
    mode: Literal["a", "b"] = "a",
    path: Path | str | None = None,
    flag: bool = False,
    *,
    config: InvertConfig | None = None,
    **options: Any,
) -> tuple[Any, ...]:
    return shape, count, seed, share, mode, path, flag, config, options


def test_accepted_arguments() -> None:
    """Arguments of the right type arrive unchanged; NumPy scalars become numbers of Python."""
    given = ("any", 2, 3, 1, "b", Path("x"), True)
    assert _function(*given, config=None, other=4) == (*given, None, {"other": 4})
    result = _function(None, np.int32(2), share=np.float32(0.25), flag=np.True_)
    assert result[1:4] == (2, 0, 0.25) and type(result[1]) is int and result[6] is True
    assert _function("any") == ("any", 1, 0, 0.5, "a", None, False, None, {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"count": 0}, "count must be at least 1, got 0"),
        ({"count": "2"}, "count: expected an integer, got str '2'"),
        ({"count": None}, "count: expected an integer, got None"),
        ({"count": True}, "count: expected an integer, got bool True"),
        ({"count": 1.0}, "count: expected an integer, got float 1.0"),
        ({"count": np.zeros(3)}, r"count: expected an integer, got float64 array of shape \(3,\)"),
        ({"seed": 2**63}, "seed must be below 9.22337e\\+18"),
        ({"share": "much"}, "share: expected a number, got str 'much'"),
        ({"share": math.nan}, "share must be a finite number, got nan"),
        ({"mode": "c"}, "mode: expected one of 'a', 'b', got str 'c'"),
        ({"mode": 3}, "mode: expected one of 'a', 'b', got int 3"),
        ({"mode": []}, "mode: expected one of 'a', 'b', got list of length 0"),
        ({"path": 3}, "path: expected a path or a string or None, got int 3"),
        ({"path": "a\0b"}, "path: a string must not contain a null character"),
        ({"flag": 1}, "flag: expected True or False, got int 1"),
        ({"config": RefineConfig()}, "config: expected an InvertConfig or None, got RefineConfig"),
        ({"config": {"steps": 3}}, "config: expected an InvertConfig or None, got dict of length 1"),
    ],
)
def test_refused_arguments(arguments: dict[str, Any], message: str) -> None:
    """Wrong types and values are reported with the name of the argument, what was expected, and what came."""
    with pytest.raises(ConfigError, match=f"^{message}"):
        _function("any", **arguments)


class _Class:
    @check_arguments
    def method(self, count: int, other: Any = None) -> tuple[int, Any]:
        return count, other

    @classmethod
    @check_arguments
    def build(cls, text: str, rng: np.random.Generator | None = None) -> tuple[str, np.random.Generator | None]:
        return text, rng


def test_methods() -> None:
    """Methods are checked, too; objects of plain classes must be instances."""
    assert _Class().method(3, object) == (3, object)
    assert _Class.build("a") == ("a", None)
    with pytest.raises(ConfigError, match="^count: expected an integer, got str 'a'"):
        _Class().method("a")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="^rng: expected a Generator or None, got int 3"):
        _Class.build("a", rng=3)  # type: ignore[arg-type]


def test_wrong_signature() -> None:
    """Mistyped keywords are answered with a similar name; Python reports missing arguments with the function's name."""
    method: Any = _Class().method
    with pytest.raises(ConfigError, match="^unknown argument 'coutn' of method; did you mean 'count'?"):
        method(coutn=3)
    with pytest.raises(ConfigError, match="^unknown argument 'zzzz' of method; arguments are count, other$"):
        method(3, zzzz=3)
    with pytest.raises(TypeError, match=r"_function\(\) missing 1 required positional argument: 'shape'"):
        _function()  # type: ignore[call-arg]


def test_options() -> None:
    """Keywords replace settings of a configuration, and mistyped ones are answered with a similar name."""
    base = InvertConfig(steps=7, seed=3)
    assert with_options(InvertConfig, None, {}) == InvertConfig()
    assert with_options(InvertConfig, base, {}) is base
    assert with_options(InvertConfig, base, {"steps": np.int64(5), "partial": True}) == InvertConfig(
        steps=5, seed=3, partial=True
    )
    for options, message in (
        ({"step": 5}, "unknown setting 'step' of InvertConfig; did you mean 'steps'?"),
        ({"zzzz": 5}, "unknown setting 'zzzz' of InvertConfig; settings are method, recipe, adam, steps, "),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"steps": None}, "steps: expected an integer, got None"),
    ):
        with pytest.raises(ConfigError, match=message):
            with_options(InvertConfig, base, options)
    with pytest.raises(ConfigError, match="config must be an InvertConfig, got RefineConfig; .* keywords"):
        with_options(InvertConfig, RefineConfig(), {})  # type: ignore[arg-type]
