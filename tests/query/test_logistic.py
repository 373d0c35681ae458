"""The logistic regression is scikit-learn's, with signs that weights must have."""

import numpy as np
import pytest

from clip2video_plugin.query.logistic import fit_logistic

linear_model = pytest.importorskip("sklearn.linear_model")


def data(seed, n=300):
    random = np.random.default_rng(seed)
    features = random.normal(size=(n, 3)) * [1, 0.1, 5] + [3, 0, 1]
    right = features @ [1, 5, -0.2] - 2 + random.logistic(size=n) > 0
    return features, right, random.uniform(0.2, 2, n)


@pytest.mark.parametrize("ridge", [0.1, 3.0])
def test_probabilities_are_those_of_scikit_learn(ridge):
    features, right, importance = data(0)
    mean = np.average(features, axis=0, weights=importance)
    scale = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=importance))
    truth = linear_model.LogisticRegression(C=1 / ridge, tol=1e-10, max_iter=1000)
    truth.fit((features - mean) / scale, right, importance)
    expected = truth.predict_proba((features - mean) / scale)[:, 1]
    assert fit_logistic(features, right, importance, ridge=ridge)(features) == pytest.approx(expected, abs=1e-6)


def test_a_weight_of_the_wrong_sign_is_none_and_the_others_are_as_without_it():
    features, right, _ = data(1)
    fit = fit_logistic(features, right, signs=(1, 1, 1))
    assert fit.weights[2] == 0
    assert min(fit.weights[:2]) > 0
    alone = fit_logistic(features[:, :2], right)
    assert fit(features) == pytest.approx(alone(features[:, :2]), abs=1e-9)
    assert fit_logistic(features, right, signs=(1, 0, -1)) == fit_logistic(features, right)


def test_what_can_be_parted_or_is_all_the_same_ends_in_probabilities():
    line = np.linspace(-1, 1, 20)[:, None]
    p = fit_logistic(line, line[:, 0] > 0)(line)
    assert (np.diff(p) > 0).all()
    assert 0 < p[0] < 0.1
    assert 0.9 < p[-1] < 1
    constant = fit_logistic(np.ones((20, 1)), line[:, 0] > 0)
    assert constant.weights == (0.0,)
    assert constant(np.ones((1, 1)))[0] == pytest.approx(0.5)
    assert fit_logistic(line, np.zeros(20, bool))(line).max() < 1e-3
