"""Several processes that train one space: what they share in a step, under `torchrun`.

Each process draws its part of a batch. Gradients of the networks are averaged; of grid and codes only the rows that
some process touched travel, and all processes then take the same step. One process is a context of its own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError


@dataclass(frozen=True)
class DistributedContext:
    """This process's `rank` among `world` processes."""

    rank: int = 0
    world: int = 1

    @property
    def is_main_process(self) -> bool:
        """Does this process write files and talk to people?"""
        return self.rank == 0

    def average(self, tensors: list[Tensor]) -> None:
        """Replace tensors by their mean over the processes."""
        if self.world == 1:
            return
        joined = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(joined)
        joined /= self.world
        for tensor, mean in zip(tensors, joined.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def average_rows(
        self, rows: Int[Tensor, " U"], values: Float[Tensor, "U C"]
    ) -> tuple[Int[Tensor, " V"], Float[Tensor, "V C"]]:
        """All rows that some process touched, and the mean over the processes of what each adds to them."""
        if self.world == 1:
            return rows, values
        sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(self.world)]
        dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
        counts = [int(size) for size in sizes]
        # Processes send blocks of equal size; what lies beyond a process's own rows is dropped again.
        padded_rows = rows.new_zeros(max(counts))
        padded_values = values.new_zeros(max(counts), values.shape[1])
        padded_rows[: len(rows)], padded_values[: len(rows)] = rows, values
        all_rows = [torch.empty_like(padded_rows) for _ in counts]
        all_values = [torch.empty_like(padded_values) for _ in counts]
        dist.all_gather(all_rows, padded_rows)
        dist.all_gather(all_values, padded_values)
        together = torch.cat([part[:count] for part, count in zip(all_rows, counts, strict=True)])
        distinct, slot = together.unique(return_inverse=True)
        sums = values.new_zeros(len(distinct), values.shape[1])
        sums.index_add_(0, slot, torch.cat([part[:count] for part, count in zip(all_values, counts, strict=True)]))
        return distinct, sums / self.world

    def follow(self, numbers: list[float], device: torch.device) -> list[float]:
        """The leader's numbers, in every process."""
        if self.world == 1:
            return numbers
        shared = torch.tensor(numbers, dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return shared.tolist()

    def wait(self) -> None:
        """Until every process is here."""
        if self.world > 1:
            dist.barrier()


def processes() -> int:
    """How many processes `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main_process() -> bool:
    """Is this the process that speaks for all that `torchrun` started?"""
    return processes() == 1 or os.environ.get("RANK", "0") == "0"


@contextmanager
def distributed_context(device: torch.device) -> Iterator[DistributedContext]:
    """The context that `torchrun` started this process in, by the environment it sets; else a context of one.

    Within the block only the process that leads shows messages and bars.
    """
    if processes() == 1:
        yield DistributedContext()
        return
    on_gpu = device.type == "cuda"
    # Named, so that what carries no tensor, a barrier, uses this process's GPU too and not the first one.
    dist.init_process_group("nccl" if on_gpu else "gloo", device_id=device if on_gpu else None)
    quiet = console.quiet
    try:
        context = DistributedContext(dist.get_rank(), dist.get_world_size())
        console.quiet = console.quiet or not context.is_main_process
        yield context
    finally:
        console.quiet = quiet
        dist.destroy_process_group()


def local_device(name: str) -> str:
    """`cuda`, and `auto` where there is a GPU, are under `torchrun` the GPU of this process's number on its machine.

    ConfigError for one GPU, by number, for all processes of a machine.
    """
    local = os.environ.get("LOCAL_RANK")
    if local is None:
        return name
    together = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if name.startswith("cuda:") and together > 1:
        raise ConfigError(f"{together} processes cannot share {name}; with --device cuda each takes a GPU of its own")
    return f"cuda:{local}" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else name
