"""`latentsdf doctor`: check the installation."""

from typing import Any, ClassVar

from rich.text import Text

from latentsdf.cli.parser import Command, command
from latentsdf.utils.console import console

_STYLES = {"ok": "green", "note": "yellow", "error": "bold red"}


@command
class Doctor(Command):
    """Check the installation: versions, processor, memory, disk, GPU, retrieval, extras and compiled kernels.

    Exit code: 0 if everything that is needed works, 1 otherwise.
    """

    examples: ClassVar[tuple[str, ...]] = ("latentsdf doctor", "latentsdf doctor --compile", "latentsdf doctor --json")

    compile: bool = False
    """Compile all kernels ahead of their first use, which takes a minute or two of one core."""

    def run(self) -> dict[str, Any]:
        """Check and print; returns all checks."""
        from latentsdf.cli.installation import check_installation
        from latentsdf.cli.kernels import compile_all

        if self.compile:
            compile_all()
        checks = check_installation()
        for check in checks:
            console.print(
                Text.assemble((f"{check.status:5}", _STYLES[check.status]), f"  {check.name}: {check.found}"),
                soft_wrap=True,
            )
            if check.mend:
                console.print(Text(f"       {check.mend}"), soft_wrap=True)
        errors = [check.name for check in checks if check.status == "error"]
        return {"ok": not errors, "errors": errors, "checks": [check.as_dict() for check in checks]}

    def exit_code(self, result: dict[str, Any] | None) -> int:
        """Return 1 if something that is needed does not work."""
        return 0 if result and result["ok"] else 1

    def next_step(self, result: dict[str, Any] | None) -> str:  # noqa: ARG002
        """Return the first command to try."""
        return "latentsdf demo"
