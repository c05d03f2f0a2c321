"""`latentsdf demo`: checks before the work starts."""

from collections.abc import Callable

import pytest

from latentsdf import cli


@pytest.mark.parametrize("device", ["gpu", "mps", "meta", "cuda:99"])
def test_unknown_device(device: str, messages: Callable[[], str]) -> None:
    """A device that is not available is rejected before the work starts."""
    assert cli.main(["demo", "--device", device]) == 2
    assert f"device '{device}'" in messages()
