"""Adds two folders to the wheel as package folders; everything else is in pyproject.toml.

configs/ becomes latentsdf/presets, checkpoints/furniture/ latentsdf/pretrained/furniture.
"""

from pathlib import Path

from setuptools import find_packages, setup

DATA = {"latentsdf.presets": "configs", "latentsdf.pretrained.furniture": "checkpoints/furniture"}
present = {package: folder for package, folder in DATA.items() if Path(folder).is_dir()}

setup(
    packages=[*find_packages(include=["latentsdf*", "preprocessing*"]), *present],
    package_dir=present,
)
