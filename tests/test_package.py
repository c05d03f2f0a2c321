"""What `import latentsdf` promises."""

import subprocess
import sys

import pytest

import latentsdf


def test_import_is_clean_quick_and_without_torch() -> None:
    code = (
        "import sys, latentsdf;"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'heavy import';"
        "print(latentsdf.__version__)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == latentsdf.__version__


@pytest.mark.parametrize("name", latentsdf.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(latentsdf, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="No latentsdf attribute nonsense"):
        _ = latentsdf.nonsense
