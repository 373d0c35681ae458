"""Logistic regression with few features, weights for the examples, and signs that coefficients must have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 50  # of Newton's method, which takes about ten


@dataclass(frozen=True)
class Logistic:
    """p = 1 / (1 + exp(-(bias + weights . features)))."""

    weights: tuple[float, ...]
    bias: float

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities [n] for features [n, f]."""
        return _sigmoid(features @ np.array(self.weights) + self.bias)


def fit_logistic(
    features: NDArray[np.float64],
    right: NDArray[np.bool_],
    importance: NDArray[np.float64] | None = None,
    *,
    signs: Sequence[int] = (),
    ridge: float = 0.1,
) -> Logistic:
    """The weights of largest likelihood, less ``ridge`` / 2 times their squares for features of unit deviation.

    Args:
        features: [n, f]. right: [n]. importance: [n], 1 by default.
        signs: for each feature 1 or -1 where its weight must have that sign or be zero, 0 where any will do.
    """
    importance = np.ones(len(right)) if importance is None else importance
    mean = np.average(features, axis=0, weights=importance)
    deviation = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=importance))
    scale = np.where(deviation > 1e-12, deviation, 1.0)
    scaled = (features - mean) / scale
    wanted = np.array(list(signs) or [0] * features.shape[1])
    used = deviation > 1e-12
    while True:
        weights = np.zeros(features.shape[1])
        weights[used], bias = _newton(scaled[:, used], right.astype(float), importance, ridge)
        wrong = weights * wanted < 0
        if not wrong.any():
            break
        used[np.argmin(weights * wanted)] = False  # the worst first: without it the others may be right
    plain = weights / scale
    return Logistic(tuple(plain.tolist()), float(bias - plain @ mean))


def _newton(
    features: NDArray[np.float64], right: NDArray[np.float64], importance: NDArray[np.float64], ridge: float
) -> tuple[NDArray[np.float64], float]:
    inputs = np.column_stack([features, np.ones(len(features))])
    penalty = np.full(inputs.shape[1], ridge)
    penalty[-1] = 1e-9  # none for the bias, but that a fit of one class has an end
    weights = np.zeros(inputs.shape[1])

    def loss(at: NDArray[np.float64]) -> float:
        z = inputs @ at
        return float(importance @ (np.logaddexp(0, z) - right * z) + 0.5 * penalty @ at**2)

    now = loss(weights)
    for _ in range(STEPS):
        p = _sigmoid(inputs @ weights)
        slope = inputs.T @ (importance * (p - right)) + penalty * weights
        curve = (inputs * (importance * p * (1 - p))[:, None]).T @ inputs + np.diag(penalty)
        step, share = np.linalg.solve(curve, slope), 1.0
        while (new := loss(weights - share * step)) > now and share > 1e-6:
            share /= 2
        if new >= now - 1e-12 * abs(now):
            break
        weights, now = weights - share * step, new
    return weights[:-1], float(weights[-1])


def _sigmoid(z: NDArray[np.float64]) -> NDArray[np.float64]:
    half: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * z))
    return half
