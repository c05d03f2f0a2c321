"""Data-parallel training by several processes under `torchrun`.

Each process draws its share of a batch and holds a replica of the parameters. Gradients of the networks are averaged by
an all-reduce. Of the feature grid and the codes, only the gradients of rows that any process read are exchanged
(all-gather). All processes then take the same step. A single process is a context of world size 1, in which every
operation is local.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from latentsdf.training.row_adam import sum_rows
from latentsdf.utils.console import console
from latentsdf.utils.errors import ConfigError


@dataclass(frozen=True)
class DistributedContext:
    """Rank of this process and its collective operations."""

    rank: int = 0
    world_size: int = 1

    @property
    def is_main_process(self) -> bool:
        """True on rank 0, which writes checkpoints and logs."""
        return self.rank == 0

    def all_reduce_mean(self, tensors: list[Tensor]) -> None:
        """Replace tensors in place by their means over the processes, in one all-reduce."""
        if self.world_size == 1:
            return
        joined = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(joined)
        joined /= self.world_size
        for tensor, mean in zip(tensors, joined.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(mean.view_as(tensor))

    def all_reduce_rows(
        self, rows: Int[Tensor, " U"], values: Float[Tensor, "U C"]
    ) -> tuple[Int[Tensor, " V"], Float[Tensor, "V C"]]:
        """Average sparse row gradients over the processes.

        Args:
            rows: Distinct row indices of this process.
            values: Gradients of these rows.

        Returns:
            The union of the row indices of all processes, and the mean gradient of each row; a process without a row
            contributes 0 to it.
        """
        if self.world_size == 1:
            return rows, values
        sizes = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(self.world_size)]
        dist.all_gather(sizes, torch.tensor([len(rows)], device=rows.device))
        counts = [int(size) for size in sizes]
        # all_gather needs blocks of equal size; the padding is dropped below.
        padded_rows = rows.new_zeros(max(counts))
        padded_values = values.new_zeros(max(counts), values.shape[1])
        padded_rows[: len(rows)], padded_values[: len(rows)] = rows, values
        all_rows = [torch.empty_like(padded_rows) for _ in counts]
        all_values = [torch.empty_like(padded_values) for _ in counts]
        dist.all_gather(all_rows, padded_rows)
        dist.all_gather(all_values, padded_values)
        gathered = torch.cat([part[:count] for part, count in zip(all_rows, counts, strict=True)])
        distinct, sums = sum_rows(
            gathered, torch.cat([part[:count] for part, count in zip(all_values, counts, strict=True)])
        )
        return distinct, sums / self.world_size

    def broadcast(self, numbers: list[float], device: torch.device) -> list[float]:
        """Return the numbers of rank 0 on every process."""
        if self.world_size == 1:
            return numbers
        shared = torch.tensor(numbers, dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return shared.tolist()

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()


def world_size() -> int:
    """Return the number of processes that `torchrun` started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_torchrun() -> bool:
    """Return True if `torchrun` started this process, and may start it again after a failure (`--max-restarts`)."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_main_process() -> bool:
    """Return True on rank 0 and without `torchrun`."""
    return world_size() == 1 or os.environ.get("RANK", "0") == "0"


@contextmanager
def distributed_context(device: torch.device) -> Iterator[DistributedContext]:
    """Join the process group that `torchrun` describes by environment variables; without it, a single process.

    Within the context only rank 0 prints messages and progress bars.

    Args:
        device: Device of this process; selects the NCCL or the Gloo backend.
    """
    if world_size() == 1:
        yield DistributedContext()
        return
    on_gpu = device.type == "cuda"
    # With the device, operations without tensors (barriers) use the GPU of this process instead of the first one.
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
    """Return the device of this process: under `torchrun`, `cuda` is the GPU with the process's local rank.

    Args:
        name: `cpu`, `cuda`, `cuda:N`, or `auto`, which is `cuda` if there is a GPU.

    Raises:
        ConfigError: A single GPU is selected for several processes.
    """
    local = os.environ.get("LOCAL_RANK")
    if local is None:
        return name
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if name.startswith("cuda:") and processes > 1:
        raise ConfigError(f"{processes} processes cannot share {name}; with --device cuda each uses its own GPU")
    return f"cuda:{local}" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else name
