"""Distribution of the training codes of a space: a Gaussian of all codes, and a mixture per category.

Both are fitted on first use, except in a packed space, which stores those of all its training codes.
"""

from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from latentsdf.config.model import ModelConfig
from latentsdf.config.validation import did_you_mean
from latentsdf.geometry.similarity import Similarity, combine_similarities
from latentsdf.latent.mixture import CodeMixture
from latentsdf.latent.prior import CodePrior
from latentsdf.latent.stored_prior import StoredPrior
from latentsdf.latent.training_shapes import TrainingShapes
from latentsdf.utils.arrays import describe
from latentsdf.utils.errors import ConfigError


class CodeDistribution:
    """Distribution of the T training codes of a space.

    Args:
        shapes: The training shapes.
        codes: Their codes, in single precision.
        model: Settings of the model, which define the parts of a code.
        stored: Distribution to use instead of that of these codes.
    """

    def __init__(
        self, shapes: TrainingShapes, codes: Float[Tensor, "T N"], model: ModelConfig, stored: StoredPrior | None
    ) -> None:
        self._shapes, self._codes, self._model, self._stored = shapes, codes, model, stored
        self._mixtures: dict[str, CodeMixture] = {} if stored is None else stored.mixtures

    @cached_property
    def counts(self) -> dict[str, int]:
        """Number of training shapes by category."""
        if self._stored is not None:
            return dict(self._stored.counts)
        return {name: len(rows) for name, rows in self._shapes.categories().items()}

    @cached_property
    def gaussian(self) -> CodePrior:
        """Gaussian of the codes, of the type and on the device of the codes."""
        if self._stored is not None:
            return self._stored.gaussian.to(self._codes)
        return CodePrior.fit(self._codes, self._model.code_dim, self._model.local.channels)

    @cached_property
    def place(self) -> Similarity:
        """Mean similarity of the shapes."""
        if self._stored is not None:
            return self._stored.place
        return combine_similarities(self._shapes.similarities, [1 / len(self._shapes)] * len(self._shapes))

    def mixture(self, category: str) -> CodeMixture:
        """Return the distribution of the global parts of the codes of a category."""
        if category not in self._mixtures:
            rows = self._shapes.categories()[category]
            self._mixtures[category] = CodeMixture.fit(self._codes[rows, : self._model.code_dim])
        return self._mixtures[category]

    def sample(self, count: int, seed: int, category: str | None = None) -> Float[Tensor, "K N"]:
        """Draw K codes; see `ShapeSpace.sample`."""
        if category is not None and category not in self.counts:
            raise ConfigError(
                f"category: expected one of {', '.join(self.counts)}, got {describe(category)}"
                f"{did_you_mean(category, self.counts)}"
            )
        chosen = self.counts if category is None else {category: self.counts[category]}
        shares = [number / sum(chosen.values()) for number in chosen.values()]
        mixture = CodeMixture.joined([self.mixture(name) for name in chosen], shares)
        return self.gaussian.with_local_part(mixture.sample(count, seed).to(self.gaussian.mean))

    def to_stored(self) -> StoredPrior:
        """Return the distribution as the file of a packed space stores it."""
        return StoredPrior(self.gaussian, self.place, self.counts, {name: self.mixture(name) for name in self.counts})
