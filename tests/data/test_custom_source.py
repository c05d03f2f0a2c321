"""Batches from a source of the user's own: conversion and checks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from latentsdf.config.training import LossConfig, TrainConfig
from latentsdf.data.custom_source import SourceBatch, SourcePool
from latentsdf.data.point_batches import PointBatch
from latentsdf.data.sdf_batches import SdfBatch
from latentsdf.geometry.similarity import IDENTITY, Similarity
from latentsdf.utils.errors import ConfigError, TrainingError

SIGNED = np.random.default_rng(0).uniform(-1, 1, (2, 7, 4))
GOOD = SourceBatch([2, 0], SIGNED, torch.as_tensor(SIGNED[:, :3]))
TRAIN, LOSS = TrainConfig(), LossConfig()


class _Source:
    ids = ("a", "b", "chair/c")

    def __init__(self, drawn: Any = GOOD) -> None:
        self.drawn, self.numbers = drawn, []

    def batch(self, step: int, rng: np.random.Generator) -> Any:
        """Return the given batch and remember a random number of each step."""
        self.numbers.append((step, rng.random()))
        return self.drawn() if callable(self.drawn) else self.drawn


def test_signed_samples() -> None:
    """Arrays and tensors become the batch that a store gives, with points for the enabled regularizers."""
    loss = replace(LOSS, eikonal=(0.1,), heat=(0.1,), regularizer_points=8)
    pool = SourcePool(_Source(), TRAIN, loss)
    batch = pool.batch(3)
    assert isinstance(batch, SdfBatch) and batch.shape_index.tolist() == [2, 0]
    np.testing.assert_array_equal(batch.band_points, SIGNED[..., :3].astype(np.float32))
    np.testing.assert_array_equal(batch.offsurface_distance, SIGNED[:, :3, 3].astype(np.float32))
    assert batch.box_points.shape == (2, 8, 3) and batch.heat_points.shape == (2, 8, 3)
    assert pool.keys == ["shape/a", "shape/b", "chair/c"] and pool.epoch(3) == 2.0
    assert pool.normalization == "sphere" and pool.similarities == [IDENTITY] * 3


def test_surface_points() -> None:
    """Points with normals become the batch of `train.samples: points`."""
    surface = np.random.default_rng(1).uniform(-1, 1, (1, 8, 6))
    train = replace(TRAIN, samples="points")
    loss = replace(LOSS, normals=(1.0,))
    batch = SourcePool(_Source(SourceBatch([1], surface=surface)), train, loss).batch(0)
    assert isinstance(batch, PointBatch)
    np.testing.assert_array_equal(batch.normals, surface[..., 3:].astype(np.float32))
    assert 0 < (batch.near_points - batch.points).abs().max() < 0.1
    with pytest.raises(ConfigError, match=r"expected surface \(1, P, 6\), got \(1, 8, 3\)"):
        SourcePool(_Source(SourceBatch([1], surface=surface[..., :3])), train, loss)


def test_random_numbers() -> None:
    """The generator of a step depends on the seed, the step and the process only."""
    draws = []
    for seed, rank in ((0, 0), (0, 0), (1, 0), (0, 1)):
        source = _Source()
        pool = SourcePool(source, replace(TRAIN, seed=seed), LOSS, rank=rank)
        pool.batch(5)
        draws.append(source.numbers[-1])
    assert draws[0] == draws[1] and len(set(draws)) == 3


@pytest.mark.usefixtures("without_shape_checks")
@pytest.mark.parametrize(
    ("drawn", "message"),
    [
        ((1, 2), "_Source.batch must return a latentsdf.SourceBatch, got tuple"),
        (replace(GOOD, rows=[1, 1]), "rows must be distinct integers"),
        (replace(GOOD, rows=[0, 3]), "rows must be from 0 to 2, one for each of the ids, got 0 to 3"),
        (replace(GOOD, band=None), r"needs band \(2, P, 4\) in every batch"),
        (replace(GOOD, band=SIGNED[..., :3]), r"expected band \(2, P, 4\), got \(2, 7, 3\)"),
        (replace(GOOD, offsurface=SIGNED[:1]), r"expected offsurface \(2, P, 4\), got \(1, 7, 4\)"),
        (replace(GOOD, band=40 * SIGNED), r"band reaches .*, outside model space \[-1, 1\]\^3; scale the shapes"),
    ],
)
def test_unusable_batches(drawn: Any, message: str) -> None:
    """Errors name the source, the expected shape and the one that came."""
    with pytest.raises(ConfigError, match=message):
        SourcePool(_Source(drawn), TRAIN, LOSS)


@pytest.mark.usefixtures("without_shape_checks")
def test_unusable_sources() -> None:
    """Missing attributes, repeated names and exceptions are reported with the name of the source."""
    with pytest.raises(TrainingError, match=r"step 0: _Source.batch failed: ZeroDivisionError"):
        SourcePool(_Source(lambda: 1 / 0), TRAIN, LOSS)
    with pytest.raises(ConfigError, match=r"an attribute ids and a method batch\(step, rng\), which object lacks"):
        SourcePool(object(), TRAIN, LOSS)  # type: ignore[arg-type]
    for changes, message in (
        ({"ids": ["a", "a"]}, "_Source.ids must be distinct names of at least one shape"),
        ({"ids": []}, "_Source.ids must be distinct names of at least one shape"),
        ({"normalization": "unit"}, "normalization must be one of sphere, cube, none, got 'unit'"),
        ({"similarities": [Similarity((0.0, 0.0, 0.0), 2.0)]}, "similarities has 1 entries for 3 ids"),
    ):
        source = _Source()
        vars(source).update(changes)
        with pytest.raises(ConfigError, match=message):
            SourcePool(source, TRAIN, LOSS)
