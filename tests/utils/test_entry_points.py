"""Lookup of what installed packages offer."""

from pathlib import Path

import pytest
from helpers.plugins import install_plugin

import latentsdf as ls
from latentsdf.utils.entry_points import load_entry_point


def test_installed_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name is resolved to the function of the package that offers it."""
    install_plugin(tmp_path, monkeypatch)
    assert load_entry_point("latentsdf.losses", "small_codes", "pass it").__name__ == "small_codes"
    assert load_entry_point("latentsdf.samplers", "first", "pass it").__name__ == "first_samples"


def test_unavailable_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors name what is offered, the packages that conflict, and the package that cannot be imported."""
    with pytest.raises(ls.ConfigError, match=r"no loss named 'mine': pass it, or install .* latentsdf\.losses \(found"):
        load_entry_point("latentsdf.losses", "mine", "pass it")
    install_plugin(tmp_path / "one", monkeypatch)
    with pytest.raises(ls.ConfigError, match=r"no loss named 'small'.*\(found: broken, small_codes\)"):
        load_entry_point("latentsdf.losses", "small", "pass it")
    with pytest.raises(ls.ConfigError, match="'broken' of package latentsdf-test-plugin .* cannot be imported: Attrib"):
        load_entry_point("latentsdf.losses", "broken", "pass it")
    install_plugin(tmp_path / "two", monkeypatch, "other_plugin")
    with pytest.raises(ls.ConfigError, match="'small_codes': latentsdf-test-plugin and other-plugin; uninstall all"):
        load_entry_point("latentsdf.losses", "small_codes", "pass it")
