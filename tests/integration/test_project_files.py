"""Files for tools around the package: citation, issue forms, workflows and containers."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.paths import REPOSITORY

import latentsdf
from latentsdf.cli.installation import TESTED_PYTHON

WORKFLOWS = REPOSITORY / ".github" / "workflows"


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return project


def _yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_versions_of_package() -> None:
    """Package, metadata and citation have one version and license."""
    citation, project = _yaml(REPOSITORY / "CITATION.cff"), _project()
    assert citation["version"] == project["version"] == latentsdf.__version__
    assert citation["license"] == project["license"]


def test_versions_of_python() -> None:
    """Classifiers, the check of `doctor` and CI name the same versions, and containers one of them."""
    found = re.findall(r"Python :: (\d\.\d+)", "\n".join(_project()["classifiers"]))
    (low, high) = (f"{major}.{minor}" for major, minor in TESTED_PYTHON)
    assert (found[0], found[-1]) == (low, high) and _project()["requires-python"] == f">={low}"
    assert _yaml(WORKFLOWS / "ci.yml")["jobs"]["quick"]["strategy"]["matrix"]["python"] == found
    for path in (REPOSITORY / "docker").glob("Dockerfile.*"):
        images = re.findall(r"^FROM python:(\d\.\d+)-slim", path.read_text(), re.MULTILINE)
        assert len(images) == 2 and set(images) <= set(found)


@pytest.mark.parametrize("path", [*sorted(WORKFLOWS.glob("*.yml"))], ids=lambda path: path.stem)
def test_workflow(path: Path) -> None:
    """Every job runs on a machine and has steps; later jobs need earlier ones."""
    jobs = _yaml(path)["jobs"]
    for job in jobs.values():
        assert job["runs-on"] and all("uses" in step or "run" in step for step in job["steps"])
        assert job.get("needs", next(iter(jobs))) in jobs


@pytest.mark.parametrize("name", ["bug_report", "feature_request"])
def test_issue_form(name: str) -> None:
    """Issue forms have what GitHub requires, and distinct ids."""
    form = _yaml(REPOSITORY / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml")
    assert form["name"] and form["description"]
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids) and all(part["attributes"]["label"] for part in form["body"])


@pytest.mark.parametrize("path", [*sorted((REPOSITORY / "docker").glob("Dockerfile.*"))], ids=lambda path: path.suffix)
def test_copied_files(path: Path) -> None:
    """Containers copy files that exist, and an extra that exists is installed."""
    text = path.read_text()
    for line in re.findall(r"^COPY (?!--)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        assert all((REPOSITORY / source).exists() for source in sources)
    (extra,) = re.findall(r"\[(\w+)\]\"", text)
    assert extra in _project()["optional-dependencies"]


def test_released_commands() -> None:
    """The command lines of the release workflow can be parsed."""
    from latentsdf.cli.main import command_class
    from latentsdf.cli.parser import parse

    steps = _yaml(WORKFLOWS / "release.yml")["jobs"]["try"]["steps"]
    lines = [step["run"].split() for step in steps if step.get("run", "").startswith("latentsdf ")]
    assert len(lines) == 3
    for _, name, *words in lines:
        parse(command_class(name), words, name)
