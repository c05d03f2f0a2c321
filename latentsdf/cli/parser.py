"""What every verb is made of, and how each is used."""

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias

Verbs: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run: TypeAlias = Callable[[argparse.Namespace], dict[str, Any] | None]

EXAMPLES = """\
  latentsdf demo
  latentsdf-preprocess --source meshes/furniture --category chair --split splits/chair_train.json --out chairs.zarr
  latentsdf train --config configs/latentsdf_cpu.yaml --data chairs.zarr --out checkpoints/chairs --minutes 15
  latentsdf extract checkpoints/chairs --id kenney_chair --resolution 512 --mode fused --out chair.ply
  latentsdf extract checkpoints/chairs --all --out meshes/
  latentsdf invert checkpoints/chairs new_chair.obj --out fit/ --refine
  latentsdf invert checkpoints/chairs scan.ply --partial --align --out fit/
  latentsdf interpolate checkpoints/chairs --ids A B --steps 9 --out strip.png
  latentsdf sample checkpoints/chairs --random 6 --out new.png
  latentsdf retrieve checkpoints/chairs --mesh new_chair.obj -k 5 --json
  latentsdf render checkpoints/chairs --id A --out a.png
  latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_train.json --json
  latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --split splits/chair_test.json --invert --out unseen/
  latentsdf evaluate checkpoints/chairs --meshes meshes/furniture --fits fits/ --taus 0.005 0.01
  latentsdf reconstruct points.npy --out solid/
  latentsdf info chairs.zarr
  latentsdf export chairs.zarr chairs.h5 && latentsdf import chairs.h5 copy.zarr"""


def verb(verbs: Verbs, name: str, run: Run, help: str, note: str = "") -> argparse.ArgumentParser:
    """A parser whose verb is done by `run`, which returns what --json prints, or None; `note` ends its --help."""
    used = [line for line in EXAMPLES.splitlines() if f"latentsdf {name} " in f"{line} "]
    parser = verbs.add_parser(
        name,
        help=help,
        description=help,
        epilog="\n".join(["for example:", *used, *(["", note] if note else [])]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, accepts_overrides=False, exit_code=lambda _: 0)
    parser.add_argument("--json", action="store_true", help="print the result as JSON on standard output")
    return parser
