"""LeptonML: every model against an independent truth."""

import ast
import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn import linear_model, naive_bayes
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics.pairwise import cosine_similarity

from lepton_utils import leptonml as ml

few = settings(max_examples=20, deadline=None, derandomize=True)
seeds = st.integers(0, 2**32 - 1)


def shop(seed=0, users=40, items=25, density=0.2):
    """Random counts 1-3, CSR; the last item and the last user stay empty."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 4, (users, items)) * (rng.random((users, items)) < density)
    counts[-1] = counts[:, -1] = 0
    return sparse.csr_array(counts.astype(float))


# ---- the module


def code_lines(source):
    """Count lines that are neither empty nor comment nor docstring."""
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    texts = source.splitlines()
    lines = {
        number
        for number, line in enumerate(texts, start=1)
        if line.strip() and not line.strip().startswith("#")
    }
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)


def test_module_stays_small():
    assert code_lines(inspect.getsource(ml)) <= 300


@pytest.mark.parametrize("model", [ml.ItemNeighbors(3, 1.0), ml.EASE(2.0)])
def test_models_follow_scikit_learn(model):
    copy = clone(model)
    assert copy is not model and copy.get_params() == model.get_params()
    assert repr(copy) == repr(model)
    assert copy.fit(shop()) is copy
    with pytest.raises(ValueError, match="'nonsense'"):
        copy.set_params(nonsense=1)


@pytest.mark.parametrize("model", [ml.ItemNeighbors(), ml.EASE()])
def test_not_fitted_is_said(model):
    for call in (lambda: model.predict([0]), lambda: model.explain(0, 0)):
        with pytest.raises(ml.NotFittedError, match="call fit first"):
            call()
    assert issubclass(ml.NotFittedError, NotFittedError.__bases__)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: ml.EASE(0).fit(shop()), "l2 is 0; expected a number > 0"),
        (lambda: ml.EASE(float("nan")).fit(shop()), "l2 is nan"),
        (lambda: ml.EASE("1").fit(shop()), "l2 is '1'"),
        (lambda: ml.ItemNeighbors(0).fit(shop()), "num_neighbors is 0.*integer >= 1"),
        (lambda: ml.ItemNeighbors(2.5).fit(shop()), "num_neighbors is 2.5"),
        (lambda: ml.ItemNeighbors(True).fit(shop()), "num_neighbors is True"),
        (lambda: ml.ItemNeighbors(3, -1).fit(shop()), "shrinkage is -1"),
        (lambda: ml.ItemNeighbors(similarity="l2").fit(shop()), "similarity is 'l2'"),
        (lambda: ml.ItemNeighbors(by="row").fit(shop()), "by is 'row'"),
        (lambda: ml.EASE().fit(shop().toarray()), r"ndarray, shape \(40, 25\)"),
        (lambda: ml.EASE().fit(-shop()), "negatives"),
        (lambda: ml.EASE().fit(shop() * np.nan), "NaN"),
        (lambda: ml.EASE().fit(shop() * 1j), "complex128"),
        (lambda: ml.EASE().fit(sparse.csr_array((0, 3))), r"\(0, 3\)"),
        (lambda: ml.EASE().fit(shop()).predict([40]), "users run from 40 to 40"),
        (lambda: ml.EASE().fit(shop()).predict([-1]), "0 <= number < 40"),
        (lambda: ml.EASE().fit(shop()).predict([0.5]), "float64; expected integers"),
        (lambda: ml.EASE().fit(shop()).predict(3), r"users has shape \(\)"),
        (lambda: ml.EASE().fit(shop()).explain(0, 25), "item run from 25"),
        (
            lambda: ml.check_indices("pairs", [[0, 1, 2]], None, 2),
            r"\(1, 3\).*\(n, 2\)",
        ),
        (lambda: ml.check_indices("pairs", [[0, 9]], (5, 8), 2), "pairs run"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_fit_leaves_its_input_alone():
    x = shop().tocoo()
    x = sparse.coo_matrix(
        (np.r_[x.data, 0, 1], (np.r_[x.row, 3, 0], np.r_[x.col, 3, 0]))
    )
    before = x.toarray().copy()
    ml.ItemNeighbors(3).fit(x)
    assert x.nnz == shop().nnz + 2 and (x.toarray() == before).all()


# ---- neighbors


def naive_scores(x, k, shrinkage, pearson, by):
    """Compute the scores with loops, from the definition."""
    vectors = x.T if by == "item" else x
    n = len(vectors)
    s = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            a, b = vectors[i], vectors[j]
            common = np.sum((a > 0) & (b > 0))
            if pearson:
                a, b = a - a.mean(), b - b.mean()
            lengths = np.linalg.norm(a) * np.linalg.norm(b)
            if i != j and lengths > 1e-12:
                s[i, j] = a @ b / lengths * common / max(common + shrinkage, 1e-300)
    for row in s:
        row[np.argsort(-np.round(row, 12), kind="stable")[k:]] = 0
        row[row < 0] = 0
    return x @ s.T if by == "item" else s @ x


@pytest.mark.parametrize("by", ["item", "user"])
@pytest.mark.parametrize("similarity", ["cosine", "pearson"])
@few
@given(seed=seeds, k=st.integers(1, 50), shrinkage=st.sampled_from([0.5, 20.0]))
def test_neighbors_follow_the_definition(by, similarity, seed, k, shrinkage):
    x = sparse.csr_array(np.random.default_rng(seed).random((12, 9)) ** 4)
    x.data[x.data < 0.05] = 0
    model = ml.ItemNeighbors(k, shrinkage, similarity, by).fit(x)
    truth = naive_scores(x.toarray(), k, shrinkage, similarity == "pearson", by)
    np.testing.assert_allclose(model.predict(range(12)), truth, atol=1e-9)


def test_similarities_equal_scikit_learn_and_numpy():
    x = shop()
    everything = slice(0, x.shape[1])
    rows = x.T.tocsr()
    cosine = ml.similarity_rows(rows, everything, "cosine", 0)
    np.testing.assert_allclose(cosine, cosine_similarity(x.T), atol=1e-12)
    pearson = ml.similarity_rows(rows, everything, "pearson", 0)[:-1, :-1]
    truth = np.corrcoef(x.toarray()[:, :-1], rowvar=False)
    np.testing.assert_allclose(pearson, truth, atol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    whole = ml.ItemNeighbors(4, 2.0).fit(shop()).similarity_.toarray()
    monkeypatch.setattr(ml.ItemNeighbors, "block_rows", 7)
    assert (ml.ItemNeighbors(4, 2.0).fit(shop()).similarity_.toarray() == whole).all()


@few
@given(seed=seeds, k=st.integers(1, 12))
def test_keep_largest_keeps_the_first_of_ties(seed, k):
    block = np.random.default_rng(seed).integers(-1, 4, (5, 10)) / 1.0
    kept = ml.keep_largest(block, k).toarray()
    for row, result in zip(block, kept, strict=True):
        best = np.argsort(-row, kind="stable")[:k]
        truth = np.zeros(10)
        truth[best] = np.maximum(row[best], 0)
        assert (result == truth).all()


# ---- EASE


def test_ease_solves_each_column_as_a_ridge_regression():
    x, l2 = shop(), 3.0
    model, dense = ml.EASE(l2).fit(x), x.toarray()
    for j in range(dense.shape[1]):
        others = np.delete(np.arange(dense.shape[1]), j)
        a = dense[:, others]
        w = np.linalg.solve(a.T @ a + l2 * np.eye(len(others)), a.T @ dense[:, j])
        np.testing.assert_allclose(model.right_[others, j], w, atol=1e-10)
    assert (np.diag(model.right_) == 0).all()


@few
@given(seed=seeds, l2=st.floats(0.1, 1000))
def test_ease_has_no_gradient_left_off_the_diagonal(seed, l2):
    x = shop(seed)
    b = ml.EASE(l2).fit(x).right_
    dense = x.toarray()
    gradient = dense.T @ (dense @ b - dense) + l2 * b
    np.fill_diagonal(gradient, 0)
    assert abs(gradient).max() < 1e-8


# ---- explanations


@pytest.mark.parametrize(
    "model",
    [ml.ItemNeighbors(5), ml.ItemNeighbors(5, by="user"), ml.EASE(5.0)],
)
def test_explanations_add_up_to_the_scores(model):
    scores = model.fit(shop()).predict(range(40))
    for user in range(40):
        for item in range(25):
            indices, parts = model.explain(user, item)
            assert len(indices) == len(parts) and (parts != 0).all()
            assert (np.diff(parts) <= 0).all()
            assert abs(parts.sum() - scores[user, item]) < 1e-12


def test_empty_users_and_items_score_zero():
    for model in (ml.ItemNeighbors(5, 1.0), ml.EASE(5.0)):
        scores = model.fit(shop()).predict(range(40))
        assert (scores[-1] == 0).all() and (scores[:, -1] == 0).all()
        assert np.isfinite(scores).all()


# ---- naive Bayes and logistic regression


def words(seed=0, rows=60, features=12, classes=3):
    """Random counts 0-4 (CSR) and labels; feature 0 never occurs, all classes do."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, (rows, features)) * (rng.random((rows, features)) < 0.4)
    counts[:, 0] = 0
    labels = np.r_[np.arange(classes), rng.integers(0, classes, rows - classes)]
    return sparse.csr_array(counts.astype(float)), labels


BAYES = [(ml.MultinomialNB, naive_bayes.MultinomialNB)]
BAYES += [(ml.BernoulliNB, naive_bayes.BernoulliNB)]
CLASSIFIERS = [ml.MultinomialNB(0.5), ml.BernoulliNB(0.5), ml.LogisticRegression(2.0)]


@pytest.mark.parametrize(("ours", "theirs"), BAYES)
@few
@given(seed=seeds, alpha=st.floats(1e-6, 100), classes=st.integers(2, 5))
def test_naive_bayes_equals_scikit_learn(ours, theirs, seed, alpha, classes):
    x, y = words(seed, classes=classes)
    model, truth = ours(alpha).fit(x, y), theirs(alpha=alpha).fit(x, y)
    new = words(seed + 1)[0]
    for name in ("class_log_prior_", "feature_count_", "feature_log_prob_"):
        learned = getattr(model, name), getattr(truth, name)
        np.testing.assert_allclose(*learned, rtol=0, atol=1e-10)
    joint = model.predict_joint_log_proba(new), truth.predict_joint_log_proba(new)
    np.testing.assert_allclose(*joint, rtol=0, atol=1e-10)
    probabilities = model.predict_proba(new), truth.predict_proba(new)
    np.testing.assert_allclose(*probabilities, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.predict_proba(new).sum(axis=1), 1, atol=1e-12)


def test_naive_bayes_takes_an_alpha_for_each_word():
    (x, y), new = words(), words(1)[0]
    alpha = np.linspace(0.1, 3, x.shape[1])
    truth = naive_bayes.MultinomialNB(alpha=alpha).fit(x, y).predict_proba(new)
    ours = ml.MultinomialNB(alpha).fit(x, y)
    np.testing.assert_allclose(ours.predict_proba(new), truth)
    coins = ml.BernoulliNB(alpha).fit(x, y).feature_log_prob_
    for j, a in enumerate(alpha):  # scikit-learn takes one alpha only here
        one = naive_bayes.BernoulliNB(alpha=a).fit(x, y).feature_log_prob_
        np.testing.assert_allclose(coins[:, j], one[:, j])


@few
@given(seed=seeds, times=st.integers(2, 5))
def test_repeated_features_multiply_the_evidence(seed, times):
    x, y = words(seed, classes=2)

    def evidence(x):
        model = ml.MultinomialNB(1.0).fit(x, y)
        joint = model.predict_joint_log_proba(x) - model.class_log_prior_
        return joint[:, 1] - joint[:, 0]

    repeated = sparse.hstack([x] * times, format="csr")
    np.testing.assert_allclose(evidence(repeated), times * evidence(x), atol=1e-9)


@few
@given(seed=seeds, l2=st.floats(0.01, 100))
def test_logistic_regression_equals_scikit_learn(seed, l2):
    x, y = words(seed, classes=2)
    ours = ml.LogisticRegression(l2).fit(x, y)
    theirs = linear_model.LogisticRegression(
        C=1 / l2, solver="newton-cholesky", tol=1e-10, max_iter=200
    ).fit(x.toarray(), y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_[0], atol=1e-6)
    np.testing.assert_allclose(ours.intercept_, theirs.intercept_[0], atol=1e-6)
    p = 1 / (1 + np.exp(-ours.decision_function(x)))
    np.testing.assert_allclose(ours.predict_proba(x)[:, 1], p, atol=1e-12)
    assert abs(x.T @ (p - y) + l2 * ours.coef_).max() < 1e-6  # no gradient left
    assert abs((p - y).sum()) < 1e-6


def test_logistic_regression_separable_and_badly_scaled():
    x = np.array([[-1e4], [-1.0], [1.0], [1e4]])
    model = ml.LogisticRegression(1e-3).fit(x, [0, 0, 1, 1])
    assert (model.predict(x) == [0, 0, 1, 1]).all() and model.num_iterations_ < 50
    with pytest.raises(RuntimeError, match="after 1 steps"):
        ml.LogisticRegression(1e-3, max_iterations=1).fit(x, [0, 0, 1, 1])


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_classifiers_follow_scikit_learn(model):
    x, y = words(classes=2)
    names = np.array(["no", "yes"])[y]
    copy = clone(model)
    with pytest.raises(ml.NotFittedError, match="call fit first"):
        copy.predict_proba(x)
    with pytest.raises(ml.NotFittedError, match="call fit first"):
        copy.predict(x)
    assert copy.fit(x, names) is copy and copy.get_params() == model.get_params()
    assert set(copy.predict(x)) <= {"no", "yes"}
    dense = clone(model).fit(x.toarray(), names).predict_proba(x.toarray())
    np.testing.assert_allclose(copy.predict_proba(x), dense, atol=1e-12)
    numbered = clone(model).fit(x, y).predict(x)
    assert ((copy.predict(x) == "yes") == numbered).all()


@pytest.mark.parametrize("model", CLASSIFIERS)
@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        ([[1.0], [2.0]], [0, 0], "y holds one class"),
        ([[1.0], [2.0]], [0], r"y has shape \(1,\); expected \(2,\)"),
        ([[1.0], [np.nan]], [0, 1], "x holds NaN"),
        ([1.0, 2.0], [0, 1], r"x is float64, shape \(2,\)"),
        ([["a"], ["b"]], [0, 1], "x is <U1"),
        (np.zeros((2, 0)), [0, 1], r"shape \(2, 0\)"),
    ],
)
def test_classifiers_name_bad_input(model, x, y, named):
    with pytest.raises(ValueError, match=named):
        clone(model).fit(x, y)


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_classifiers_refuse_other_columns(model):
    model = clone(model).fit(*words(classes=2))
    with pytest.raises(ValueError, match=r"shape \(1, 5\); expected .*\(n, 12\)"):
        model.predict(np.ones((1, 5)))


def test_classifiers_refuse_bad_parameters():
    x, y = words(classes=2)
    for alpha in (0, -1, np.nan, np.inf, "1", [1.0, 2.0], [[1.0]], None):
        for model in (ml.MultinomialNB, ml.BernoulliNB):
            with pytest.raises(ValueError, match=r"alpha is .*expected > 0"):
                model(alpha).fit(x, y)
    for model in (ml.MultinomialNB(), ml.BernoulliNB()):
        with pytest.raises(ValueError, match="x holds -1; expected counts >= 0"):
            model.fit([[1.0], [-1.0]], [0, 1])
    with pytest.raises(ValueError, match="l2 is 0"):
        ml.LogisticRegression(0).fit(x, y)
    with pytest.raises(ValueError, match="3 classes; expected two"):
        ml.LogisticRegression().fit(*words(classes=3))


# ---- factorization


def ratings(seed=0, users=12, items=9):
    """Random pairs, one user and one item without any, and ratings 1 to 5."""
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(rng.random((users - 1, items - 1)) < 0.5)
    return pairs, rng.integers(1, 6, len(pairs)).astype(float), (users, items)


def confidences(model, x):
    """Weights, targets and both sides' penalties, dense, from the definition."""
    weights = 1 + model.alpha * x
    sums = weights.sum(axis=1), weights.sum(axis=0)
    return weights, (x > 0) * 1.0, [model.l2 * s**model.scaling for s in sums]


@few
@given(seeds, st.floats(0.1, 20), st.floats(0.1, 20), st.sampled_from([0.0, 0.5, 1.0]))
def test_implicit_als_solves_each_item_as_weighted_ridge(seed, l2, alpha, scaling):
    x = shop(seed, 20, 12)
    model = ml.ImplicitALS(3, l2, alpha, 2, scaling=scaling).fit(x)
    weights, target, (_, penalties) = confidences(model, x.toarray())
    for item, penalty in enumerate(penalties):
        w = weights[:, item]
        matrix = model.left_.T @ (w[:, None] * model.left_) + penalty * np.eye(3)
        solution = np.linalg.solve(matrix, model.left_.T @ (w * target[:, item]))
        assert np.allclose(model.right_[:, item], solution, atol=1e-9)


@few
@given(seeds, st.sampled_from([0.0, 1.0]))
def test_implicit_als_never_gets_worse(seed, scaling):
    x, losses = shop(seed, 20, 12), []
    for iterations in range(1, 5):
        model = ml.ImplicitALS(3, 1.0, 5.0, iterations, scaling=scaling).fit(x)
        weights, target, penalties = confidences(model, x.toarray())
        sizes = (model.left_**2).sum(axis=1), (model.right_**2).sum(axis=0)
        error = (weights * (target - model.left_ @ model.right_) ** 2).sum()
        losses.append(error + sum(p @ s for p, s in zip(penalties, sizes, strict=True)))
    assert (np.diff(losses) <= 1e-9 * losses[0]).all()


@few
@given(seeds, st.floats(0.1, 10), st.sampled_from([0.0, 1.0]))
def test_explicit_als_solves_each_item_as_ridge(seed, l2, scaling):
    pairs, y, shape = ratings(seed)
    model = ml.ExplicitALS(2, l2, 3, scaling=scaling).fit(pairs, y, shape)
    for item in range(shape[1]):
        users, own = pairs[pairs[:, 1] == item, 0], y[pairs[:, 1] == item]
        features = np.c_[model.left_[users, :2], np.ones(len(users))]
        penalty = l2 * max(len(users), 1) ** scaling
        solution = np.linalg.solve(
            features.T @ features + penalty * np.eye(3),
            features.T @ (own - model.mean_ - model.left_[users, 2]),
        )
        assert np.allclose(model.right_[[0, 1, 3], item], solution, atol=1e-8)
    assert (model.right_[2] == 1).all() and (model.left_[:, -1] == 1).all()


def test_explicit_als_learns_noise_and_the_right_answer():
    rng = np.random.default_rng(0)
    left, right = rng.normal(0, 0.7, (2, 150, 2))
    full = 3 + left @ right.T + rng.normal(0, 0.5, (150, 1))
    pairs = np.argwhere(rng.random(full.shape) < 0.4)
    y = full[tuple(pairs.T)] + rng.normal(0, 0.3, len(pairs))
    model = ml.ExplicitALS(2, num_iterations=60).fit(pairs, y, full.shape)
    assert model.noise_ == pytest.approx(0.09, rel=0.15)
    hidden = np.argwhere(np.ones(full.shape))
    error = model.predict(hidden) - np.clip(full.ravel(), y.min(), y.max())
    assert np.sqrt((error**2).mean()) < 0.15
    assert np.sqrt((error**2).mean()) < 0.5 * full.std()


def test_explicit_als_is_bias_only_for_strangers():
    pairs, y, shape = ratings()
    for l2 in (None, 1.0):
        model = ml.ExplicitALS(2, l2).fit(pairs, y, shape)
        stranger, item = shape[0] - 1, 0
        expected = np.clip(model.mean_ + model.right_[-1, item], 1, 5)
        assert model.predict([[stranger, item]]) == pytest.approx(expected)
        assert model.predict([[stranger, shape[1] - 1]]) == pytest.approx(model.mean_)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: ml.ImplicitALS(0).fit(shop()), "num_factors is 0"),
        (lambda: ml.ImplicitALS(l2=0).fit(shop()), "l2 is 0; expected a number > 0"),
        (lambda: ml.ImplicitALS(alpha=-1).fit(shop()), "alpha is -1"),
        (lambda: ml.ImplicitALS(scaling=-1).fit(shop()), "scaling is -1"),
        (lambda: ml.ImplicitALS(num_iterations=0).fit(shop()), "num_iterations is 0"),
        (lambda: ml.ImplicitALS().fit(np.ones((2, 2))), "interactions is ndarray"),
        (lambda: ml.ExplicitALS(l2=0).fit([[0, 0]], [1.0]), "l2 is 0"),
        (lambda: ml.ExplicitALS().fit([0, 1], [1.0, 2.0]), "pairs has shape"),
        (lambda: ml.ExplicitALS().fit([[0, 1]], [1.0, 2.0]), r"ratings are \(2,\)"),
        (lambda: ml.ExplicitALS().fit([[0, 1]], [np.nan]), "ratings are"),
        (lambda: ml.ExplicitALS().fit([[0, 3]], [1.0], (1, 3)), "pairs run from"),
        (lambda: ml.ExplicitALS().predict([[0, 0]]), "call fit first"),
    ],
)
def test_factorizations_name_bad_input(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_factorizations_follow_scikit_learn():
    pairs, y, shape = ratings()
    for model, data in (
        (ml.ImplicitALS(2), (shop(),)),
        (ml.ExplicitALS(2), (pairs, y, shape)),
    ):
        copy = clone(model)
        assert copy.get_params() == model.get_params() and copy.fit(*data) is copy
        indices, parts = copy.explain(1, 2)
        assert parts.sum() == pytest.approx((copy.left_ @ copy.right_)[1, 2])
        assert len(indices) == len(parts)
