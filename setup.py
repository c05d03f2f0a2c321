"""Adds folders and a file to the wheel as parts of the package; everything else is in pyproject.toml.

configs/ becomes latentsdf/presets, checkpoints/furniture/ latentsdf/pretrained/furniture, and constraints.txt
latentsdf/tested_versions.txt.
"""

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


DATA = {"latentsdf.presets": "configs", "latentsdf.pretrained.furniture": "checkpoints/furniture"}
present = {package: folder for package, folder in DATA.items() if Path(folder).is_dir()}

setup(
    packages=[*find_packages(include=["latentsdf*", "preprocessing*"]), *present],
    package_dir=present,
    cmdclass={"build_py": BuildWithTestedVersions},
)
