"""HeatSDF with the second-order term and the phase field of the medial-axis method.

The paper on the latter (arXiv 2604.16512) shows this combination as a proof of concept and states no weights, so there
are no published settings. The weights here are ours.
"""

from dataclasses import replace

from latentsdf.config.reconstruction import MedialConfig, ReconstructConfig
from latentsdf.reconstruction.methods import heat_sdf


def small(dim: int) -> ReconstructConfig:
    """Settings sized for two CPU cores."""
    config = heat_sdf.small(dim)
    return replace(
        config,
        method="heat_medial",
        medial=MedialConfig(
            second_order=(0.001, 0.2, 0.001, 0.4, 0.1, 0.1), phase=(0.02,), cell_levels=2 if dim == 2 else 1
        ),
    )
