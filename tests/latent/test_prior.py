"""Gaussian prior against closed forms."""

import numpy as np
import torch

from latentsdf.latent.prior import CodePrior

CODES = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([3.0, 1.0, 0.5, 0.1]) + 2


def test_principal_directions() -> None:
    """The basis is a root of the covariance plus a floor on its diagonal, with columns of falling length."""
    prior = CodePrior.fit(CODES)
    covariance = torch.from_numpy(np.cov(CODES.numpy().T)).float()
    floor = prior.basis @ prior.basis.T - covariance
    torch.testing.assert_close(floor, 0.05 * covariance.trace() / 4 * torch.eye(4), atol=1e-4, rtol=1e-3)
    assert (prior.basis.norm(dim=0).diff() < 0).all()
    torch.testing.assert_close(prior.mean, CODES.mean(0))


def test_mahalanobis_distance() -> None:
    """|u|^2 is the squared Mahalanobis distance, and encoding inverts decoding."""
    prior = CodePrior.fit(CODES)
    coordinates = prior.encode(CODES)
    precision = torch.linalg.inv(prior.basis @ prior.basis.T)
    centered = CODES - prior.mean
    wanted = (centered @ precision * centered).sum(1)
    torch.testing.assert_close(coordinates.square().sum(1), wanted, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(prior.decode(coordinates), CODES, atol=1e-4, rtol=1e-4)


def test_directions_outside_code_span() -> None:
    """Fewer codes than dimensions leave a basis of full rank."""
    prior = CodePrior.fit(CODES[:2])
    assert torch.linalg.matrix_rank(prior.basis) == 4
    assert torch.isfinite(prior.encode(CODES)).all()


def test_principal_direction() -> None:
    """`along` moves from the mean along one direction, in standard deviations."""
    prior = CodePrior.fit(CODES)
    torch.testing.assert_close(prior.along(1, torch.tensor([-2.0]))[0], prior.mean - 2 * prior.basis[:, 1])


def test_local_parts() -> None:
    """Local parts follow from the global part by regression, and coordinates describe codes completely."""
    generator = torch.Generator().manual_seed(2)
    slope, noise = torch.randn(6, 4, generator=generator), 0.1 * torch.randn(500, 6, generator=generator)
    codes = torch.cat((CODES, CODES @ slope.T + noise + 1), dim=1)
    prior = CodePrior.fit(codes, dim=4, channels=2)
    coordinates = prior.encode(codes)
    torch.testing.assert_close(prior.decode(coordinates), codes, atol=1e-3, rtol=1e-3)
    assert coordinates[:, 4:].std() < 1.1  # whitened, except for the floor
    assert prior.local is not None
    near = prior.with_local_part(CODES[:50])
    torch.testing.assert_close(near[:, :4], CODES[:50], atol=1e-4, rtol=0)
    spread = (CODES @ slope.T).std()
    assert (near[:, 4:] - near[:, :4] @ slope.T - 1).abs().mean() < 0.2 * spread
    moved = prior.along(0, torch.tensor([-1.0, 0.0]))
    torch.testing.assert_close(moved[1], prior.mean)
    torch.testing.assert_close(prior.encode(moved)[0], torch.eye(10)[0] * -1, atol=1e-3, rtol=0)
