"""Code blocks of the documentation, and how tests run them: scaled down, in a folder with small stand-ins for data."""

import contextlib
import json
import re
import shlex
import shutil
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from helpers.paths import REPOSITORY
from latentsdf import cli
from latentsdf.cli.main import command_class
from latentsdf.cli.parser import flags_of, parse
from preprocessing.__main__ import Preprocess
from preprocessing.__main__ import main as preprocess
from preprocessing.merge import Merge

_FENCE = re.compile(r"^( *)(`{3,})([^\n`]*)\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_MARK = re.compile(r"<!-- test: parse: ([^>]+) -->\s*\Z")
_COMMAND = re.compile(r"(?:^|\s)(?:-m )?(latentsdf(?:-preprocess)?)(?= |$)")
PROGRAMS = ("latentsdf", "latentsdf-preprocess")


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    page: Path
    line: int
    """Line of its first line, from 1."""
    language: str
    """Language of the fence; empty for none, {name} for a directive."""
    text: str
    reason: str
    """Why a test only parses the block; empty if it runs it."""

    @property
    def name(self) -> str:
        """Place of the block, for messages."""
        return f"{self.page.relative_to(REPOSITORY)}:{self.line}"


def pages() -> list[Path]:
    """README, CONTRIBUTING and all pages of the documentation."""
    built = REPOSITORY / "docs" / "_build"
    found = sorted(page for page in (REPOSITORY / "docs").rglob("*.md") if built not in page.parents)
    return [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *found]


def blocks_of(page: Path) -> list[Block]:
    """Return the code blocks of a page; cells of notebooks, which the build executes, are directives."""
    text = page.read_text(encoding="utf-8")
    blocks = []
    for found in _FENCE.finditer(text):
        mark = _MARK.search(text[: found.start()])
        content = textwrap.dedent(found[4])
        line = text.count("\n", 0, found.start(4)) + 1
        blocks.append(Block(page, line, found[3].strip(), content, mark[1] if mark else ""))
    return blocks


def commands_of(block: Block) -> list[str]:
    """Return the shell commands of a block, without prompts, comments and continuations."""
    text = block.text.replace("\\\n", " ")
    lines = [line.removeprefix("$ ").partition("   #")[0].strip() for line in text.splitlines()]
    if block.language == "console":
        prompts = [line for line in text.splitlines() if line.startswith("$ ")]
        lines = [line.removeprefix("$ ").partition("   #")[0].strip() for line in prompts]
    return [line for line in lines if line and not line.startswith("#")]


def parse_block(block: Block) -> None:
    """Check a block without running it; raises if it is wrong."""
    match block.language:
        case "python":
            compile(block.text, block.name, "exec")
        case "yaml":
            yaml.safe_load(block.text)
        case "toml":
            tomllib.loads(block.text)
        case "json":
            json.loads(block.text)
        case "" | "console" | "bash":
            for line in commands_of(block):
                parse_command(line)


def parse_command(line: str) -> None:
    """Check a shell command: our own programs, targets of make, and extras that pip installs; others are accepted.

    Variables of SLURM have the value 1.
    """
    line = re.sub(r"\$SLURM_\w+", "1", line)
    found = _COMMAND.search(line.partition(" > ")[0])
    words = shlex.split(line, comments=True)
    if found and ("pip" not in words[:3]):
        program, *args = shlex.split(line[found.start(1) :].partition(" > ")[0], comments=True)
        if program == "latentsdf-preprocess":
            merging = args[0] == "merge"
            parse(Merge if merging else Preprocess, args[1:] if merging else args, program)
        elif args[0] not in ("--version", "--print-completion", "COMMAND"):
            parse(command_class(args[0]), args[1:], f"latentsdf {args[0]}")
    elif words[0] == "make":
        makefile = (REPOSITORY / "Makefile").read_text()
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:] if "=" not in target)
    elif "pip" in words:
        extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        assert {one for name in re.findall(r"\[([\w,-]+)\]", line) for one in name.split(",")} <= extras.keys()


_SMALL_PYTHON = (
    (r"(?<!sparse_)resolution=\d+", "resolution=32"),
    (r"minutes=\d+", "steps=2"),
    (r"size=\d+", "size=32"),
    (r"space\.render\((\w+(?:\[\d\])?)\)", r"space.render(\1, size=32)"),
    (r"ls\.reconstruct\(points(, steps=\d+)?", "ls.reconstruct(points, steps=2"),
    (r"(space\.evaluate\(\{[^}]*\})\)", r"\1, resolution=32, points=500, field_points=0)"),
    (
        r'(ls\.preprocess\(\{[^}]*\}, "[^"]+")\)',
        r"\1, ls.SamplingConfig(resolution=32, sparse_resolution=16, near=500, uniform=500, surface=200))",
    ),
    (r"\.mesh\(\d+\)", ".mesh(32)"),
    (r'out="checkpoints/', 'overwrite=True, out="checkpoints/'),
)
"""Replacements that make a block of Python quick, and let it train over a stand-in."""
_NOT_RUN = {
    "demo": "trains for minutes, and tests/cli/test_demo.py runs it with small settings",
    "COMMAND": "stands for any command",
}
"""Commands of pages that are only parsed, and why."""
_SMALL_FLAGS = {
    "resolution": "32",
    "sparse-resolution": "16",
    "steps": "2",
    "starts": "1",
    "refine-seconds": "1",
    "points": "500",
    "size": "32",
    "workers": "1",
    "near": "500",
    "uniform": "500",
    "surface": "200",
    "model.grid.resolution": "16",
    "count": "2",
}
"""Values of flags that make a command quick, in place of those that it has."""


def small_python(text: str) -> str:
    """Return a block of Python that does the same with little work."""
    for pattern, replacement in _SMALL_PYTHON:
        text = re.sub(pattern, replacement, text)
    return text


def small_arguments(program: str, args: list[str]) -> list[str]:
    """Return the arguments of a command that does the same with little work."""
    command: type = Preprocess if program == "latentsdf-preprocess" else command_class(args[0])
    flags = flags_of(command)
    args = list(args)
    if "--minutes" in args:
        del args[args.index("--minutes") : args.index("--minutes") + 2]
    if "--overwrite" in flags and not {"--overwrite", "--resume"} & {*args}:
        args.append("--overwrite")  # over the stand-ins
    for name, value in _SMALL_FLAGS.items():
        flag = f"--{name}"
        if flag not in flags or (flag == "--steps" and args[0] in ("interpolate",)):
            continue
        if flag in args:
            args[args.index(flag) + 1] = value
        elif flag != "--refine-seconds":  # which would ask for a refinement
            args += [flag, value]
    return args


def run_command(line: str) -> None:
    """Run one of our commands, scaled down, in this process and the current folder.

    Raises:
        AssertionError: It fails.
    """
    found = _COMMAND.search(line)
    assert found is not None and found.start(1) == 0, f"not one of our commands: {line}"
    redirected = line.partition(" > ")
    program, *args = shlex.split(redirected[0], comments=True)
    args = small_arguments(program, args)
    if program == "latentsdf-preprocess" and "--out" in args:
        shutil.rmtree(args[args.index("--out") + 1], ignore_errors=True)  # a stand-in with other settings
    with contextlib.ExitStack() as stack:
        if redirected[2]:
            stack.enter_context(contextlib.redirect_stdout(stack.enter_context(open(redirected[2].strip(), "w"))))
        try:
            code: Any = preprocess(args) if program == "latentsdf-preprocess" else cli.main(args)
        except SystemExit as stop:
            code = stop.code
    assert not code, f"`{program} {shlex.join(args)}` ended with exit code {code}"


def run_page(blocks: list[Block], names: dict[str, Any]) -> Iterator[str]:
    """Run the blocks of a page in order, Python in one namespace; yields the name of each block before it runs.

    Of blocks with commands, our own ones run, and the others are only parsed.
    """
    for block in blocks:
        yield block.name
        parse_block(block)
        if block.reason:
            continue
        if block.language == "python":
            exec(compile(small_python(block.text), block.name, "exec"), names)
        elif block.language in ("", "console"):
            for line in our_commands(block):
                run_command(line)


def our_commands(block: Block) -> list[str]:
    """Return the commands of a block that a test runs."""
    words = [(line, line.split()) for line in commands_of(block)]
    return [line for line, (program, *args) in words if program in PROGRAMS and args[0] not in _NOT_RUN]


def is_run(block: Block) -> bool:
    """Whether `run_page` runs a block or a part of it."""
    if block.reason:
        return False
    return block.language == "python" or (block.language in ("", "console") and bool(our_commands(block)))
