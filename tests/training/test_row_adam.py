"""Row-wise Adam and Adam of tables against torch's Adam, and the laziness of the first."""

import torch

from latentsdf.training.row_adam import RowAdam, _step_in_torch, sum_rows
from latentsdf.training.table_adam import TableAdam


def test_one_channel_with_all_rows_equals_adam() -> None:
    """With one channel and a gradient for every row, row-wise Adam equals Adam."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(20, 1, generator=generator)
    reference = start.clone().requires_grad_()
    adam = torch.optim.Adam([reference], lr=0.01, betas=(0.9, 0.99), eps=1e-12)
    table = start.clone()
    ours = RowAdam(table, lr=0.01)
    for _ in range(10):
        gradient = torch.randn(20, 1, generator=generator)
        reference.grad = gradient.clone()
        adam.step()
        ours.step(torch.arange(20), gradient)
    torch.testing.assert_close(table, reference.detach(), atol=1e-5, rtol=1e-5)


def test_rows_without_gradient() -> None:
    """Rows that are not given keep their values and step counts."""
    table = torch.zeros(5, 3)
    adam = RowAdam(table, lr=0.1)
    adam.step(torch.tensor([1, 3]), torch.ones(2, 3))
    assert table[[0, 2, 4]].abs().max() == 0
    assert adam.count.tolist() == [0, 1, 0, 1, 0]
    torch.testing.assert_close(table[[1, 3]], torch.full((2, 3), -0.1))


def test_state_round_trip() -> None:
    """A restored optimizer continues identically."""
    generator = torch.Generator().manual_seed(1)
    gradients = [torch.randn(4, 2, generator=generator) for _ in range(6)]
    through = torch.zeros(4, 2)
    adam = RowAdam(through, lr=0.1)
    for gradient in gradients:
        adam.step(torch.arange(4), gradient)
    stopped = torch.zeros(4, 2)
    first = RowAdam(stopped, lr=0.1)
    for gradient in gradients[:3]:
        first.step(torch.arange(4), gradient)
    second = RowAdam(stopped, lr=0.1)
    second.load_state_dict({name: value.clone() for name, value in first.state_dict().items()})
    for gradient in gradients[3:]:
        second.step(torch.arange(4), gradient)
    assert torch.equal(through, stopped)


def test_compiled_step_equals_torch_step() -> None:
    """The compiled step equals the step in torch."""
    generator = torch.Generator().manual_seed(2)
    table = torch.randn(50, 7, generator=generator)
    compiled = RowAdam(table.clone(), lr=0.05)
    plain = RowAdam(table.clone(), lr=0.05)
    for _ in range(8):
        rows = torch.randperm(50, generator=generator)[:20]
        gradient = torch.randn(20, 7, generator=generator)
        compiled.step(rows, gradient)
        _step_in_torch(
            plain.table, plain.first, plain.second, plain.count, rows, gradient, plain.lr, *plain.betas, plain.eps
        )
    torch.testing.assert_close(compiled.table, plain.table)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value)


def test_compiled_bias_correction() -> None:
    """The bias corrections of the compiled step hold for small and large step counts."""
    generator = torch.Generator().manual_seed(3)
    table = torch.randn(4, 3, generator=generator)
    for betas in ((0.9, 0.999), (0.0, 0.5)):
        compiled, plain = RowAdam(table.clone(), 0.05, betas), RowAdam(table.clone(), 0.05, betas)
        for adam in (compiled, plain):
            adam.count.copy_(torch.tensor([0.0, 7.0, 1_000.0, 200_000.0]))
        rows, gradient = torch.arange(4), torch.randn(4, 3, generator=generator)
        compiled.step(rows, gradient)
        _step_in_torch(plain.table, plain.first, plain.second, plain.count, rows, gradient, plain.lr, *betas, plain.eps)
        torch.testing.assert_close(compiled.table, plain.table)


def test_table_adam_equals_adam_on_embedding() -> None:
    """With gradients of 1e-3 to 1 per channel in some rows, all values equal those of torch's Adam on an embedding."""
    generator = torch.Generator().manual_seed(4)
    start = torch.randn(12, 8, generator=generator)
    embedding = torch.nn.Embedding.from_pretrained(start.clone(), freeze=False)
    reference = torch.optim.Adam(embedding.parameters(), lr=0.01, betas=(0.9, 0.999))
    table = start.clone()
    ours = TableAdam(table, 1.0, (0.9, 0.999))
    scale = torch.logspace(-3, 0, 8)
    for step in range(50):
        rows = torch.randperm(12, generator=generator)[:5]
        gradient = scale * (1 + 0.1 * torch.randn(5, 8, generator=generator))
        reference.param_groups[0]["lr"] = ours.lr = 0.01 * 0.5 ** (step // 20)
        reference.zero_grad()
        (embedding(rows) * gradient).sum().backward()
        reference.step()
        ours.step(rows, gradient)
    torch.testing.assert_close(table, embedding.weight.detach(), atol=1e-6, rtol=1e-5)
    # Adam does not depend on the size of a gradient: the weakest channel moves as far as the strongest.
    moved = (table - start).abs().mean(0)
    assert moved[0] > 0.9 * moved[7]


def test_table_adam_state() -> None:
    """A restored optimizer continues identically."""
    gradients = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(5))
    whole, halves = torch.zeros(3, 2), torch.zeros(3, 2)
    adam = TableAdam(whole, 0.1, (0.9, 0.99))
    for gradient in gradients:
        adam.step(torch.arange(3), gradient)
    first = TableAdam(halves, 0.1, (0.9, 0.99))
    for gradient in gradients[:2]:
        first.step(torch.arange(3), gradient)
    second = TableAdam(halves, 0.1, (0.9, 0.99))
    second.load_state_dict(first.state_dict())
    for gradient in gradients[2:]:
        second.step(torch.arange(3), gradient)
    assert torch.equal(whole, halves)


def test_sum_of_equal_rows() -> None:
    """Values of equal rows are added, and rows come back in ascending order."""
    rows, values = torch.tensor([4, 1, 4]), torch.tensor([[1.0, 2], [3, 4], [10, 20]])
    distinct, sums = sum_rows(rows, values)
    assert distinct.tolist() == [1, 4] and sums.tolist() == [[3, 4], [11, 22]]
