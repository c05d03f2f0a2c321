"""The type checker that jaxtyping's import hook applies to the library in tests."""

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
"""beartype that accepts an int where a float is annotated, as type checkers do."""
