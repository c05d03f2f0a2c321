"""Adds configs/ and constraints.txt to the wheel, as package files; everything else is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py


class BuildWithTestedVersions(build_py):
    """Copies the tested versions into the package, where `latentsdf doctor` reads them."""

    def run(self) -> None:
        """Build, and add the file; an editable install reads constraints.txt itself."""
        super().run()
        if not self.editable_mode:
            self.copy_file("constraints.txt", str(Path(self.build_lib) / "latentsdf" / "tested_versions.txt"))


setup(
    packages=[*find_packages(include=["latentsdf*", "preprocessing*"]), "latentsdf.presets"],
    package_dir={"latentsdf.presets": "configs"},
    cmdclass={"build_py": BuildWithTestedVersions},
)
