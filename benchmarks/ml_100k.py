"""Predict ratings of films: 5-fold cross-validation on MovieLens 100K.

Folds: the 100,000 ratings, shuffled with seed 0, in five parts. The number of factors
is chosen anew for each fold, on a fifth of its training part; the rest is learned
by the model. scikit-surprise's SVD, with its default parameters, gets the same folds in
the same run. Each time is of fitting and predicting, the best of two.

Chapter: chapters/recommenders/03_factorization.
"""

import time

import numpy as np
import surprise

import lepton_utils as lu
from lepton_utils.leptonml import ExplicitALS

SHAPE = 943, 1682
FACTORS = [5, 8]  # more cost time and bring nothing
STARTS = 3  # random starts whose predictions are averaged
L2 = [0.12, 0.15, 0.2]  # of plain alternating least squares, 10 factors


def rmse(predicted, truth):
    """Root of the mean squared error, in stars."""
    return float(np.sqrt(np.mean((predicted - truth) ** 2)))


def average(train, test, **parameters):
    """Fit on (pairs, ratings), predict pairs: the mean of some random starts."""
    models = [ExplicitALS(seed=seed, **parameters) for seed in range(STARTS)]
    return np.mean([m.fit(*train, SHAPE).predict(test) for m in models], axis=0)


def single(train, test, **parameters):
    """Fit one model on (pairs, ratings), predict pairs."""
    return ExplicitALS(**parameters).fit(*train, SHAPE).predict(test)


def svd(train, test):
    """Fit scikit-surprise's SVD, predict pairs."""
    rows = [
        (u, i, r, None) for (u, i), r in zip(train[0].tolist(), train[1], strict=True)
    ]
    data = surprise.Dataset(reader=surprise.Reader(rating_scale=(1, 5)))
    start = time.perf_counter()
    model = surprise.SVD(random_state=0).fit(data.construct_trainset(rows))
    predicted = np.array([model.predict(u, i).est for u, i in test.tolist()])
    return predicted, time.perf_counter() - start


def choose(predict, pairs, ratings, name, values):
    """Choose a parameter on the last fifth of shuffled training ratings."""
    cut = len(ratings) * 4 // 5
    errors = [
        rmse(
            predict((pairs[:cut], ratings[:cut]), pairs[cut:], **{name: value}),
            ratings[cut:],
        )
        for value in values
    ]
    return values[int(np.argmin(errors))]


def cross_validate(pairs, ratings):
    """Return a dict: name -> errors of the five folds, or seconds of each."""
    folds = np.array_split(np.random.default_rng(0).permutation(len(ratings)), 5)
    found = {}

    def note(name, value):
        found.setdefault(name, []).append(value)

    for k, fold in enumerate(folds):
        rest = np.concatenate(folds[:k] + folds[k + 1 :])
        rest = np.random.default_rng(1).permutation(rest)
        train, test, truth = (pairs[rest], ratings[rest]), pairs[fold], ratings[fold]
        factors = choose(average, *train, "num_factors", FACTORS)
        times = []
        for _ in range(2):
            start = time.perf_counter()
            predicted = average(train, test, num_factors=factors)
            times.append(time.perf_counter() - start)
        note("rmse", rmse(predicted, truth))
        note("mae", float(np.abs(predicted - truth).mean()))
        note("seconds", min(times))
        note("default", rmse(single(train, test), truth))
        l2 = choose(
            lambda *data, l2: single(*data, num_factors=10, l2=l2), *train, "l2", L2
        )
        note("plain", rmse(single(train, test, num_factors=10, l2=l2), truth))
        runs = [svd(train, test) for _ in range(2)]
        note("svd", rmse(runs[0][0], truth))
        note("svd_seconds", min(seconds for _, seconds in runs))
        note("biases", rmse(biases(train, test), truth))
        print(f"fold {k}: {factors} factors, l2 {l2}", flush=True)
    return found


def biases(train, test):
    """The baseline: mean + user's bias + item's bias, each by ridge regression."""
    pairs, ratings = train
    mean, user, item = ratings.mean(), np.zeros(SHAPE[0]), np.zeros(SHAPE[1])
    for _ in range(10):
        for k, (own, other) in enumerate(((item, user), (user, item))):
            column, rest = pairs[:, 1 - k], ratings - mean - other[pairs[:, k]]
            sums = np.bincount(column, rest, len(own))
            own[:] = sums / (np.bincount(column, minlength=len(own)) + 5)
    return np.clip(mean + user[test[:, 0]] + item[test[:, 1]], 1, 5)


def main():
    """Measure and hand over."""
    (early, first), (late, last) = lu.load("ml-100k")
    pairs, ratings = np.r_[early, late], np.r_[first, last].astype(float)
    found = {
        name: float(np.mean(v)) for name, v in cross_validate(pairs, ratings).items()
    }
    time_split = rmse(average((early, first.astype(float)), late), last)
    time_biases = rmse(biases((early, first.astype(float)), late), last)
    lu.record(
        rmse=found["rmse"],
        baseline_rmse=found["biases"],
        mae=found["mae"],
        rmse_default=found["default"],
        rmse_plain_als=found["plain"],
        rmse_surprise_svd=found["svd"],
        rmse_time_split=time_split,
        baseline_rmse_time_split=time_biases,
        seconds=5 * found["seconds"],
        seconds_over_surprise_svd=found["seconds"] / found["svd_seconds"],
    )
    print({k: round(v, 4) for k, v in found.items()}, time_split, time_biases)


if __name__ == "__main__":
    main()
