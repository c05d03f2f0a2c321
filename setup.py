"""Adds configs/ to the wheel as the package folder latentsdf/presets; everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["latentsdf*", "preprocessing*"]), "latentsdf.presets"],
    package_dir={"latentsdf.presets": "configs"},
)
