"""Training losses: pure functions of tensors. Signed distances are negative inside; lengths are in model space.

| file | what it knows of the field |
|---|---|
| `data` | its values, and signed distances to compare with |
| `codes` | the codes it depends on |
| `first_order` | values and gradients at points of a cloud and off it |
| `second_order` | how its gradient changes |
| `medial` | the same, weighted by a phase field that marks the medial axis |
| `schedule` | how a weight changes over a run |
"""

from latentsdf.config.schedules import schedule_value
from latentsdf.models.derivatives import Jet, gradient, hessian, hessian_along_gradient, jet, laplacian
from latentsdf.training.losses.codes import code_prior_term, lipschitz_term
from latentsdf.training.losses.data import data_term, norm_term
from latentsdf.training.losses.first_order import (
    eikonal_squared_term,
    eikonal_term,
    heat_term,
    normal_term,
    off_surface_term,
    sign_agnostic_normal_term,
    sign_agnostic_term,
    surface_term,
)
from latentsdf.training.losses.medial_axis import (
    ambrosio_tortorelli_term,
    density_weights,
    expansion_term,
    recovery_profile,
    scaled_eikonal_term,
    second_order_term,
    weighted_surface_term,
)
from latentsdf.training.losses.second_order import directional_divergence_term, divergence_term, singular_hessian_term

__all__ = [
    "Jet",
    "ambrosio_tortorelli_term",
    "code_prior_term",
    "data_term",
    "density_weights",
    "directional_divergence_term",
    "divergence_term",
    "eikonal_squared_term",
    "eikonal_term",
    "expansion_term",
    "gradient",
    "heat_term",
    "hessian",
    "hessian_along_gradient",
    "jet",
    "laplacian",
    "lipschitz_term",
    "norm_term",
    "normal_term",
    "off_surface_term",
    "recovery_profile",
    "scaled_eikonal_term",
    "schedule_value",
    "second_order_term",
    "sign_agnostic_normal_term",
    "sign_agnostic_term",
    "singular_hessian_term",
    "surface_term",
    "weighted_surface_term",
]
