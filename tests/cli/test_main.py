"""The `latentsdf` command as a whole: selection of commands, exit codes, help, version and completion."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.paths import REPOSITORY

import latentsdf
from latentsdf import cli
from latentsdf.cli.main import command_class
from latentsdf.cli.overview import COMMANDS, EXAMPLES, summary
from latentsdf.cli.parser import flags_of, parse
from preprocessing.__main__ import Preprocess
from preprocessing.merge import Merge

FIRST_DAY = (
    "latentsdf-preprocess --source meshes/furniture --category chair --split splits/chair_train.json --out chairs.zarr",
    "latentsdf train --config configs/latentsdf_cpu.yaml --data chairs.zarr --out checkpoints/chairs --minutes 15",
    "latentsdf extract checkpoints/chairs --id kenney_chair --resolution 512 --mode fused --out chair.ply",
    "latentsdf extract checkpoints/chairs --all --out meshes/",
    "latentsdf invert checkpoints/chairs new_chair.obj --out fit/",
    "latentsdf invert checkpoints/chairs new_chair.obj --out fit/ --refine",
    "latentsdf invert checkpoints/chairs scan.ply --partial --align --out fit/",
    "latentsdf interpolate checkpoints/chairs --ids A B --steps 9 --out strip.png",
    "latentsdf retrieve checkpoints/chairs --mesh new_chair.obj -k 5 --out rows.png",
    "latentsdf sample checkpoints/chairs --random 8 --out new/",
    "latentsdf render checkpoints/chairs --id A --out a.png",
    "latentsdf reconstruct points.npy --out solid/",
    "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_train.json --json",
    "latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_test.json --invert "
    "--out unseen/",
    "latentsdf info chairs.zarr",
    "latentsdf export chairs.zarr chairs.h5",
)
"""Command lines of the README of version 0.1."""


def _parse(line: str) -> None:
    """Parse one command line; raises if it is wrong."""
    program, *args = shlex.split(line.partition(" > ")[0], comments=True)
    if program == "latentsdf-preprocess":
        merging = args[0] == "merge"
        parse(Merge if merging else Preprocess, args[1:] if merging else args, program)
    elif args[0] in COMMANDS:
        parse(command_class(args[0]), args[1:], f"latentsdf {args[0]}")
    else:
        assert args[0] in ("--version", "--print-completion")


def _lines_of(document: str) -> list[str]:
    """Command lines in the code blocks of a document."""
    blocks = (REPOSITORY / document).read_text().split("```")[1::2]
    return [line for block in blocks for line in block.splitlines() if re.match(r"latentsdf(-preprocess)? ", line)]


def _run(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "latentsdf", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    "line",
    [
        *FIRST_DAY,
        *_lines_of("README.md"),
        *EXAMPLES,
        *Preprocess.examples,
        *(line for verb in COMMANDS for line in command_class(verb).examples),
    ],
)
def test_validity_of_documented_command_lines(line: str) -> None:
    """Every command line of the README and of the help texts can be parsed."""
    _parse(line)


@pytest.mark.parametrize("verb", COMMANDS)
def test_examples_in_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The help of a command names all its flags and ends with its examples."""
    with pytest.raises(SystemExit, match="0"):
        cli.main([verb, "--help"])
    text = capsys.readouterr().out
    examples = command_class(verb).examples
    assert text.endswith("".join(f"  {line}\n" for line in examples)) and f"latentsdf {verb}" in examples[0]
    assert [flag for flag in flags_of(command_class(verb)) if flag not in text] == []


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]], ids=repr)
def test_command_list_in_help(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """`latentsdf` alone prints the help and succeeds."""
    assert cli.main(args) == 0
    text = capsys.readouterr().out
    assert all(f"• {verb} " in text for verb in COMMANDS) and "--version" in text and "--print-completion" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """`--version` prints the version of the package."""
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"latentsdf {latentsdf.__version__}\n"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["frobnicate"], "unknown command 'frobnicate'; see latentsdf --help"),
        (["preprocess", "--out", "a"], "unknown command 'preprocess'; the program is latentsdf-preprocess"),
        (["help"], "unknown command 'help'; did you mean --help?"),
        (["info", "a", "--hlep"], "unknown argument --hlep; did you mean --help?"),
        (["info", "--hlep"], "unknown argument --hlep; did you mean --help?"),
        (["--versoin"], "unknown argument --versoin; did you mean --version?"),
        (["--print-completion"], "--print-completion: expected one of bash, zsh, fish"),
        (["--print-completion", "powershell"], "got 'powershell'"),
        (["render", "x", "--id", "a", "--out", "a.png", "--styel", "depth"], "--styel; did you mean --style?"),
        (["train", "--data", "a", "--out", "b", "--train.lr-gird", "1"], "did you mean --train.lr-grid?"),
        (["train", "--dta", "a", "--out", "b"], "unknown argument --dta; did you mean --data?"),
        (["info", "a", "b"], "unknown argument b; see latentsdf info --help"),
    ],
)
def test_misspelled_words(args: list[str], message: str, messages: Callable[[], str]) -> None:
    """An unknown command or flag causes a one-line error that suggests the closest known one."""
    assert cli.main(args) == 2
    assert message in messages()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["train", "--out", "x"], "the following arguments are required: --data"),
        (["invert", "--out", "x"], "the following arguments are required: CHECKPOINT"),
        (["invert", "space", "--out", "x"], "TARGET"),
        (["interpolate", "space", "--out", "x", "--id"], "--id: expected at least one value"),
        (["sample", "space", "--out", "x"], "one of --mean, --random, --direction, --sum is required"),
        (["render", "space", "--out"], "--out: expected a value"),
        (["render", "space", "--out", "a.png", "--style", "wire"], "one of shaded, normals, depth, slice, got 'wire'"),
        (
            ["reconstruct", "a", "--out", "b", "--method", "ig"],
            "--method: expected one of latentsdf, hotspot, medial_axis, steik, digs, nsh, siren, igr, sal, heat_sdf, "
            "heat_medial, instant_ngp, lipschitz, signed_heat, poisson, got 'ig'",
        ),
        (["train", "--data", "a", "--out", "b", "--steps", "1.5"], "--steps: expected an integer, got '1.5'"),
    ],
)
def test_incomplete_command_lines(args: list[str], message: str, messages: Callable[[], str]) -> None:
    """A missing or invalid value causes a one-line error that refers to the help."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(args)
    text = messages()
    assert message in text and text.endswith(f"see latentsdf {args[0]} --help") and "Traceback" not in text


@pytest.mark.parametrize("verb", COMMANDS)
def test_summaries(verb: str) -> None:
    """The help lists the first line of the docstring of each command, which it reads without importing it."""
    assert summary(verb) == (command_class(verb).__doc__ or "").partition("\n")[0] != ""


def test_imports_of_help(tmp_path: Path) -> None:
    """The help of the program imports no command, and neither NumPy nor pydantic."""
    code = "import sys; from latentsdf import cli\ncli.main(['--help'])\n"
    code += "sys.exit(any(name in sys.modules for name in ('numpy', 'pydantic', 'latentsdf.cli.parser')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "args", [["--help"], ["train", "--help"], ["reconstruct", "--help"], ["--print-completion", "bash"]], ids=" ".join
)
def test_help_without_torch(args: list[str], tmp_path: Path) -> None:
    """Neither help nor completion import torch, which would take seconds."""
    code = f"import sys; from latentsdf import cli\ntry: cli.main({args})\nexcept SystemExit: pass\n"
    code += "sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_contents_of_completion_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The completion script contains commands, flags and settings."""
    assert cli.main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in (*COMMANDS, "--smallest-piece", "--train.lr-grid", "--loss.heat-lambda"))


@pytest.mark.slow
def test_bash_completion(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bash completes a command after loading the script."""
    assert cli.main(["--print-completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(
        capsys.readouterr().out
        + "\nCOMP_WORDS=(latentsdf tr)\nCOMP_CWORD=1\nCOMP_LINE='latentsdf tr'\nCOMP_POINT=12\n"
        + '_tyro_latentsdf\necho "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["train"], done.stderr


@pytest.mark.parametrize("word", ["nowhere.zarr", "--help"])
def test_equivalence_of_module_and_command(word: str, tmp_path: Path) -> None:
    """`python -m latentsdf` has the exit code and messages of the `latentsdf` command."""
    done = _run("info", word, cwd=tmp_path)
    assert (done.returncode, "no such folder" in done.stderr) == ((0, False) if word == "--help" else (2, True))


def test_closed_pipe(monkeypatch: pytest.MonkeyPatch, messages: Callable[[], str]) -> None:
    """A reader that ends early, such as `head`, ends the command without a message."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        assert cli.main(["config", "latentsdf_cpu"]) == 141
    assert not messages()


@pytest.mark.slow
def test_user_files_with_package_names(tmp_path: Path) -> None:
    """Modules of the user and of the package do not replace each other, even if they have the same names."""
    (tmp_path / "preprocessing.py").write_text("MINE = True\n")
    (tmp_path / "yaml.py").write_text("raise RuntimeError('the yaml.py of the user')\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "latentsdf_cpu.yaml").write_text("unrelated: true\n")
    (tmp_path / "script.py").write_text("import preprocessing\nassert preprocessing.MINE\nimport latentsdf\n")
    listed = _run("config", "latentsdf_cpu", cwd=tmp_path)
    assert listed.returncode == 0 and "code_dim: 64" in listed.stdout, listed.stderr
    assert _run("config", "configs/latentsdf_cpu.yaml", cwd=tmp_path).returncode == 2
    script = [sys.executable, "script.py"]
    assert subprocess.run(script, cwd=tmp_path, check=False).returncode == 0
    # As a console script runs: without the working directory on the module path.
    code = "import sys; from preprocessing.__main__ import main; sys.exit(main(['--version']))"
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == f"latentsdf-preprocess {latentsdf.__version__}\n", done.stderr
