"""LeptonNet: every rule against differences, whole layers against Keras."""

import ast
import inspect
import io
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import mutually_broadcastable_shapes

import lepton_utils as lu
from lepton_utils import leptonnet as ln
from lepton_utils.leptonnet import Tensor

few = settings(max_examples=15, deadline=None, derandomize=True)
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)
seeds = st.integers(0, 2**32 - 1)

UNARY = {
    "neg": lambda x: -x,
    "exp": Tensor.exp,
    "log": lambda x: (x * x + 0.5).log(),
    "tanh": Tensor.tanh,
    "sigmoid": Tensor.sigmoid,
    "relu": Tensor.relu,
    "square": lambda x: x**2,
    "cube": lambda x: x**3,
    "power 0": lambda x: x**0,
    "power 1.5": lambda x: (x * x + 0.5) ** 1.5,
    "power -1": lambda x: (x * x + 0.5) ** -1,
    "rsub": lambda x: 2 - x,
    "radd": lambda x: 2 + x,
    "rmul": lambda x: 3 * x,
    "rtruediv": lambda x: 2 / (x * x + 0.5),
    "sum": Tensor.sum,
    "transpose": Tensor.transpose,
    "flat": lambda x: x.reshape(-1),
}
BINARY = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "truediv": lambda a, b: a / (b * b + 0.5),
}


def draw(seed, *shapes):
    """Random arrays that stay 0.01 away from 0, where relu has a corner."""
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape) for shape in shapes]
    return [np.asarray(x + 0.01 * np.sign(x)) for x in arrays]


def gradient_errors(function, *arrays, seed=0):
    """Largest error of the gradients of a random weighting of the outputs."""
    tensors = [Tensor(array, needs_grad=True) for array in arrays]
    out = function(*tensors)
    weights = np.random.default_rng(seed).normal(size=out.shape)
    (out * weights).sum().backward()
    errors = []
    for i, tensor in enumerate(tensors):

        def loss(point, i=i):
            inputs = [*arrays[:i], point, *arrays[i + 1 :]]
            return np.sum(function(*map(Tensor, inputs)).data * weights)

        assert isinstance(tensor.grad, np.ndarray)
        errors.append(lu.gradient_check(loss, arrays[i], tensor.grad))
    return max(errors)


# ---- operations


@pytest.mark.parametrize("name", UNARY)
@few
@given(shape=shapes, seed=seeds)
def test_gradient_of_one_input(name, shape, seed):
    assert gradient_errors(UNARY[name], *draw(seed, shape)) < 1e-5


@pytest.mark.parametrize("name", BINARY)
@few
@given(
    pair=mutually_broadcastable_shapes(
        num_shapes=2, min_side=0, max_side=3, max_dims=3
    ),
    seed=seeds,
)
def test_gradient_of_two_broadcast_inputs(name, pair, seed):
    a, b = draw(seed, *pair.input_shapes)
    assert gradient_errors(BINARY[name], a, b) < 1e-5
    assert BINARY[name](Tensor(a), b).shape == pair.result_shape


@few
@given(
    batch=mutually_broadcastable_shapes(num_shapes=2, max_dims=2, max_side=3),
    sides=st.tuples(*[st.integers(0, 4)] * 3),
    seed=seeds,
)
def test_gradient_of_matmul_with_broadcast_batches(batch, sides, seed):
    (first, second), (n, k, m) = batch.input_shapes, sides
    a, b = draw(seed, (*first, n, k), (*second, k, m))
    assert gradient_errors(lambda a, b: a @ b, a, b) < 1e-5
    np.testing.assert_allclose((a @ Tensor(b)).data, a @ b)


@few
@given(data=st.data(), seed=seeds, keepdims=st.booleans())
def test_gradient_of_reductions(data, seed, keepdims):
    shape = data.draw(st.lists(st.integers(1, 3), max_size=3).map(tuple))
    axes = st.lists(st.sampled_from(range(len(shape)) or [0]), unique=True)
    axis = data.draw(st.none() | axes.map(tuple)) if shape else None
    if axis is not None and data.draw(st.booleans()):
        axis = tuple(i - len(shape) for i in axis)  # counted from the end
    (x,) = draw(seed, shape)
    for name in ("sum", "mean", "max"):
        reduce = getattr(Tensor, name)
        assert (
            gradient_errors(lambda x, f=reduce: f(x, axis, keepdims=keepdims), x) < 1e-5
        )
        expected = getattr(np, name)(x, axis=axis, keepdims=keepdims)
        np.testing.assert_allclose(
            reduce(Tensor(x), axis, keepdims=keepdims).data, expected
        )


def test_equal_maxima_share_the_gradient():
    x = Tensor([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]], needs_grad=True)
    x.max(axis=1).sum().backward()
    np.testing.assert_allclose(x.grad, [[0, 0.5, 0.5], [1 / 3] * 3])


@pytest.mark.parametrize(
    "index", [2, -1, slice(1, 3), (slice(None), 1), ..., None, ([0, 0, 2], [1, 1, 3])]
)
def test_gradient_of_indexing_counts_what_is_read_twice(index):
    assert gradient_errors(lambda x: x[index], *draw(0, (3, 4))) < 1e-5


def test_gradient_of_table_lookup_with_repeated_rows():
    ids = np.array([[0, 2, 2], [2, 0, 1]])
    assert gradient_errors(lambda table: table[ids], *draw(0, (3, 4))) < 1e-5


@few
@given(data=st.data(), shape=shapes, seed=seeds)
def test_gradient_of_shapes(data, shape, seed):
    axes = data.draw(st.permutations(range(len(shape))).map(tuple))
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    a, b = draw(seed, shape, shape)
    assert gradient_errors(lambda x: x.transpose(axes), a) < 1e-5
    assert gradient_errors(lambda x: x.reshape(shape[::-1]), a) < 1e-5
    assert gradient_errors(lambda a, b: ln.stack([a, b], axis), a, b) < 1e-5
    np.testing.assert_array_equal(
        ln.stack([Tensor(a), Tensor(b)], axis).data, np.stack([a, b], axis)
    )


@few
@given(rows=st.integers(1, 4), classes=st.integers(2, 5), seed=seeds)
def test_losses(rows, classes, seed):
    logits, targets = draw(seed, (rows, 2, classes), (rows, 2, classes))
    labels = np.random.default_rng(seed).integers(0, classes, (rows, 2))
    assert gradient_errors(lambda x: ln.cross_entropy(x, labels), logits) < 1e-5
    assert gradient_errors(lambda x: ln.mean_squared_error(x, targets), logits) < 1e-5
    truth = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(labels, logits)
    assert abs(ln.cross_entropy(Tensor(logits), labels).data - float(truth)) < 1e-5


def test_losses_and_sigmoid_do_not_overflow():
    x = Tensor([[1000.0, -1000.0]], needs_grad=True)
    loss = ln.cross_entropy(x, [1])
    loss.backward()
    assert loss.data == 2000
    np.testing.assert_allclose(x.grad, [[1, -1]])
    np.testing.assert_allclose(x.sigmoid().data, [[1, 0]])


# ---- the graph


def test_shared_tensor_receives_every_part():
    x = Tensor(3.0, needs_grad=True)
    y = x * x
    (y * y + y + x).backward()
    assert x.grad == 4 * 27 + 2 * 3 + 1


@few
@given(seed=seeds)
def test_random_graph_of_shared_tensors(seed):
    def grow(a, b):
        rng, nodes = np.random.default_rng(seed), [a, b]
        for _ in range(12):
            first, second = rng.integers(0, len(nodes), 2)
            kind = rng.integers(0, 3)
            x, y = nodes[first], nodes[second]
            nodes.append([x + y, x * y, x - y][kind].tanh())
        return nodes[-1] + nodes[-2] + a * b

    assert gradient_errors(grow, *draw(seed, (2, 3), (3,))) < 1e-5


def test_order_puts_parents_first_and_lists_each_once():
    a = Tensor(1.0, needs_grad=True)
    b = a + a
    c = b * a + b
    order = ln.topological_order(c)
    assert len(order) == len(set(order)) == 4
    for node in order:
        for parent, _ in node.edges:
            assert order.index(parent) < order.index(node)


def test_ten_thousand_steps_deep():
    x = y = Tensor(1.0, needs_grad=True)
    for _ in range(10_000):
        y = y + x
    y.backward()
    assert x.grad == 10_001
    del y  # freed without recursion, too


def test_gradients_add_up_over_calls_and_stay_independent():
    x, y = (Tensor(np.ones(2), needs_grad=True) for _ in range(2))
    for _ in range(2):
        (x + y).sum().backward()
    x.grad *= 10
    np.testing.assert_array_equal(x.grad, [20, 20])
    np.testing.assert_array_equal(y.grad, [2, 2])


def test_constants_have_no_gradient_and_no_graph():
    x, w = Tensor(np.ones(3)), Tensor(np.ones(3), needs_grad=True)
    y = (x * w).sum()
    y.backward()
    assert x.grad == 0
    assert (x * x).edges == []


def test_no_grad_records_nothing_and_ends():
    w = Tensor(2.0, needs_grad=True)
    with pytest.raises(KeyError), ln.no_grad():
        with ln.no_grad():
            pass
        assert not (w * w).needs_grad
        raise KeyError
    assert (w * w).needs_grad


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtype_is_kept(dtype):
    w = Tensor(np.ones((3, 2)), dtype, needs_grad=True)
    x = np.ones((4, 3), np.float64 if dtype == np.float32 else np.float32)
    y = (((x @ w + 1) * 2.5 / np.float64(3) - np.arange(2)) ** 2).mean()
    y.backward()
    assert y.dtype == w.grad.dtype == dtype
    assert Tensor([1, 2]).dtype == np.float64


def test_layers_work_in_float32():
    rng = np.random.default_rng(0)
    model = ln.Sequential(
        ln.Conv2D(2, 3, rng),
        Tensor.relu,
        ln.max_pool,
        ln.flatten,
        ln.Dense(27, 4, rng),
        ln.Dropout(0.5, rng),
    )
    loss = ln.cross_entropy(
        model(np.ones((5, 8, 8, 2)), training=True), np.zeros(5, int)
    )
    loss.backward()
    assert loss.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in model.parameters().values())


# ---- convolution, pooling, layers

settings_of_conv2d = st.tuples(
    st.integers(0, 3),  # batch
    st.integers(1, 6),  # height
    st.integers(1, 7),  # width
    st.integers(1, 3),  # channels
    st.integers(1, 3),  # filters
    st.integers(1, 3),  # kernel height
    st.integers(1, 3),  # kernel width
    st.integers(1, 3),  # stride
    st.integers(0, 2),  # padding
).filter(lambda s: s[5] <= s[1] + 2 * s[8] and s[6] <= s[2] + 2 * s[8])


@few
@given(case=settings_of_conv2d, seed=seeds, block=st.sampled_from([1, 40, 2**19]))
def test_conv2d_against_tensorflow(case, seed, block):
    n, h, w, c, f, high, wide, stride, p = case
    images, kernel = draw(seed, (n, h, w, c), (high, wide, c, f))
    with tf.GradientTape() as tape:
        x, k = tf.Variable(images), tf.Variable(kernel)
        padding = [[0, 0], [p, p], [p, p], [0, 0]]
        y = tf.nn.conv2d(tf.pad(x, padding), k, stride, "VALID")
        loss = tf.reduce_sum(y * y)
    truth = tape.gradient(loss, [x, k])
    ours = Tensor(images, needs_grad=True), Tensor(kernel, needs_grad=True)
    before, ln.BLOCK = ln.BLOCK, block
    try:
        out = ln.conv2d(*ours, stride, p)
        (out * out).sum().backward()
    finally:
        ln.BLOCK = before
    np.testing.assert_allclose(out.data, y.numpy(), atol=1e-10)
    for tensor, gradient in zip(ours, truth, strict=True):
        np.testing.assert_allclose(tensor.grad, gradient.numpy(), atol=1e-9)


def test_conv2d_gradients_by_differences():
    images, kernel = draw(0, (2, 5, 6, 2), (3, 2, 2, 3))
    error = gradient_errors(
        lambda x, k: ln.conv2d(x, k, stride=2, padding=1), images, kernel
    )
    assert error < 1e-5


@few
@given(
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
    size=st.integers(1, 3),
    n=st.integers(0, 2),
    seed=seeds,
)
def test_max_pool_against_tensorflow(rows, columns, size, n, seed):
    (images,) = draw(seed, (n, rows * size, columns * size, 2))
    with tf.GradientTape() as tape:
        x = tf.Variable(images)
        y = (
            tf.nn.max_pool2d(x, size, size, "VALID")
            if n
            else tf.zeros((0, rows, columns, 2))
        )
        loss = tf.reduce_sum(tf.cast(y, tf.float64) ** 2)
    ours = Tensor(images, needs_grad=True)
    out = ln.max_pool(ours, size)
    (out**2).sum().backward()
    np.testing.assert_allclose(out.data, y.numpy())
    if n:
        np.testing.assert_allclose(ours.grad, tape.gradient(loss, x).numpy())
        assert gradient_errors(lambda x: ln.max_pool(x, size), images) < 1e-5


def test_recurrent_layer_against_keras_and_differences():
    rng = np.random.default_rng(0)
    ours, (x,) = ln.Recurrent(3, 4, rng), draw(0, (2, 5, 3))
    theirs = keras.layers.SimpleRNN(4, return_sequences=True)
    theirs.build((None, None, 3))
    theirs.set_weights(
        [p.data for p in (ours.read.weights, ours.recur, ours.read.bias)]
    )
    np.testing.assert_allclose(ours(x).data, theirs(x.astype("f")).numpy(), atol=1e-6)
    for p in ours.parameters().values():
        p.data = p.data.astype(np.float64)
    assert gradient_errors(ours, x) < 1e-5


def test_dropout_drops_in_training_only_and_keeps_the_mean():
    layer, x = ln.Dropout(0.25, np.random.default_rng(0)), Tensor(np.ones((200, 200)))
    assert layer(x) is x
    y = layer(x, training=True).data
    assert set(np.unique(y)) == {0, 1 / 0.75}
    assert abs(y.mean() - 1) < 0.02


def test_parameters_are_found_by_name_and_tied_ones_moved_once():
    rng = np.random.default_rng(0)
    layer = ln.Dense(2, 2, rng)
    model = ln.Sequential(layer, Tensor.tanh, ln.Sequential(layer))
    names = ["layers.0.weights", "layers.0.bias"]
    assert list(model.parameters())[:2] == names
    before = layer.bias.data.copy()
    model(np.ones((1, 2))).sum().backward()
    step = layer.bias.grad.copy()
    ln.SGD(model.parameters(), 0.1).step()
    np.testing.assert_allclose(layer.bias.data, before - 0.1 * step)


# ---- optimizers and training


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda p: ln.SGD(p, 0.1), keras.optimizers.SGD(0.1)),
        (lambda p: ln.SGD(p, 0.1, 0.9), keras.optimizers.SGD(0.1, momentum=0.9)),
        (lambda p: ln.Adam(p, 0.1), keras.optimizers.Adam(0.1)),
        (
            lambda p: ln.Adam(p, 0.1, (0.8, 0.9), 1e-3),
            keras.optimizers.Adam(0.1, 0.8, 0.9, 1e-3),
        ),
    ],
)
def test_optimizers_follow_keras(ours, theirs):
    start = draw(0, (3, 2))[0].astype(np.float32)
    w, v = Tensor(start.copy(), needs_grad=True), keras.Variable(start)
    optimizer, scales = ours({"w": w}), np.array([1.0, 5.0], np.float32)
    for _ in range(30):
        (w**2 * scales).sum().backward()
        optimizer.step()
        theirs.apply([2 * v.numpy() * scales], [v])
        np.testing.assert_allclose(w.data, v.numpy(), atol=1e-5)


def problem(rows=64):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 4)).astype(np.float32)
    return x, (x[:, 0] + x[:, 1] > 0).astype(int)


def build(seed=0):
    rng = np.random.default_rng(seed)
    return ln.Sequential(ln.Dense(4, 8, rng), Tensor.tanh, ln.Dense(8, 2, rng))


def test_same_weights_same_losses_as_keras():
    (x, y), ours = problem(50), build()
    theirs = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(2)]
    )
    theirs.set_weights([p.data for p in ours.parameters().values()])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(keras.optimizers.Adam(0.01), loss)
    truth = theirs.fit(x, y, batch_size=16, epochs=5, shuffle=False, verbose=0)
    optimizer = ln.Adam(ours.parameters(), 0.01)
    history = ln.fit(ours, x, y, ln.cross_entropy, optimizer, 5, 16)
    np.testing.assert_allclose(history["loss"], truth.history["loss"], rtol=1e-4)


def test_fit_shuffles_by_the_generator_and_keeps_a_history():
    (x, y), histories = problem(), []
    for shuffler in (1, 1, 2):
        model = build()
        optimizer = ln.Adam(model.parameters(), 0.05)
        rng = np.random.default_rng(shuffler)
        options = {"rng": rng, "val": (x, y), "metrics": [ln.accuracy]}
        histories.append(
            ln.fit(model, x, y, ln.cross_entropy, optimizer, 20, 16, **options)
        )
    first, same, other = histories
    assert first == same != other
    assert set(first) == {"loss", "val_loss", "val_accuracy"}
    assert all(len(values) == 20 for values in first.values())
    assert first["val_accuracy"][-1] > 0.9
    scores = ln.evaluate(model, x, y, ln.cross_entropy, [ln.accuracy])
    assert scores == {k: other[f"val_{k}"][-1] for k in ("loss", "accuracy")}


def test_predict_batches_without_a_graph():
    (x, _), model = problem(), build()
    np.testing.assert_allclose(ln.predict(model, x, 7), model(x).data, rtol=1e-5)
    assert all(np.ndim(p.grad) == 0 for p in model.parameters().values())


# ---- files


def test_save_and_load_round_trip(tmp_path):
    path = tmp_path / "weights.npz"
    first, second = build(1), build(2)
    ln.save(first, path)
    ln.load(second, path)
    for a, b in zip(
        first.parameters().values(), second.parameters().values(), strict=True
    ):
        np.testing.assert_array_equal(a.data, b.data)


def test_load_names_what_came_and_what_was_expected(tmp_path):
    path = tmp_path / "weights.npz"
    ln.save(ln.Dense(4, 8, np.random.default_rng(0)), path)
    model = build()
    before = [p.data.copy() for p in model.parameters().values()]
    with pytest.raises(
        ValueError, match=r"weights\.npz holds .*\(4, 8\).* expects .*layers\.2\.bias"
    ):
        ln.load(model, path)
    with pytest.raises(ValueError, match=r"\(4, 8\).* expects .*\(4, 9\)"):
        ln.load(ln.Dense(4, 9, np.random.default_rng(0)), path)
    for p, old in zip(model.parameters().values(), before, strict=True):
        np.testing.assert_array_equal(p.data, old)


@few
@given(data=st.data())
def test_damaged_files_are_refused_or_read_right(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("files") / "weights.npz"
    model = build()
    ln.save(model, path)
    good = path.read_bytes()
    place = data.draw(st.integers(0, len(good) - 1))
    cut = data.draw(st.booleans())
    changed = bytes([good[place] ^ data.draw(st.integers(1, 255))])
    path.write_bytes(
        good[:place] if cut else good[:place] + changed + good[place + 1 :]
    )
    before = [p.data.copy() for p in model.parameters().values()]
    try:
        ln.load(model, path)
    except ValueError as error:
        assert "weights.npz" in str(error)
    for p, old in zip(model.parameters().values(), before, strict=True):
        np.testing.assert_array_equal(p.data, old)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"\x80\x04K\x01."])
def test_files_of_another_kind_are_refused(tmp_path, content):
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"damaged or no \.npz"):
        ln.load(build(), path)


def test_pickles_and_single_arrays_are_refused(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, weights=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="pickle"):
        ln.load(build(), path)
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"damaged or no \.npz"):
        ln.load(build(), path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights.npy", b"nothing")
    with pytest.raises(ValueError, match=r"weights\.npz"):
        ln.load(build(), path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent"):
        ln.load(build(), tmp_path / "absent.npz")


# ---- bad input


def tensor(*shape):
    return Tensor(np.ones(shape), needs_grad=True)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: tensor(2, 3) + tensor(4), r"\(2, 3\), \(4,\)"),
        (lambda: tensor(2, 3) * np.ones((3, 2)), r"\(2, 3\), \(3, 2\)"),
        (lambda: np.ones((3, 2)) - tensor(2, 3), r"\(3, 2\), \(2, 3\)"),
        (lambda: tensor(2) / tensor(3), r"\(2,\), \(3,\)"),
        (lambda: tensor(2, 3) @ tensor(2, 3), r"\(2, 3\), \(2, 3\)"),
        (lambda: tensor(3) @ tensor(3, 2), r"\(3,\), \(3, 2\)"),
        (
            lambda: ln.Dense(4, 2, np.random.default_rng(0))(np.ones((5, 3))),
            r"\(5, 3\), \(4, 2\)",
        ),
        (lambda: ln.stack([tensor(2), tensor(3)]), r"\(2,\), \(3,\)"),
        (lambda: tensor(2, 3).reshape((4, 2)), r"\(2, 3\).*\(4,\s?2\)"),
        (lambda: tensor(2, 3).transpose((0, 1, 2)), r"\(2, 3\)"),
        (lambda: tensor(2, 3).sum(axis=2), r"\(2, 3\).*axis 2"),
        (lambda: tensor(0, 3).max(), r"\(0, 3\)"),
        (lambda: tensor(0, 3).mean(), r"\(0, 3\)"),
        (
            lambda: ln.conv2d(tensor(1, 5, 5, 2), tensor(3, 3, 3, 4)),
            r"\(1, 5, 5, 2\), \(3, 3, 3, 4\)",
        ),
        (
            lambda: ln.conv2d(tensor(5, 5, 2), tensor(3, 3, 2, 4)),
            r"\(5, 5, 2\), \(3, 3, 2, 4\)",
        ),
        (
            lambda: ln.conv2d(tensor(1, 2, 5, 2), tensor(3, 3, 2, 4)),
            r"\(1, 2, 5, 2\), \(3, 3, 2, 4\)",
        ),
        (
            lambda: ln.conv2d(tensor(1, 5, 5, 2), tensor(3, 3, 2, 4), stride=0),
            "stride >= 1",
        ),
        (
            lambda: ln.conv2d(tensor(1, 5, 5, 2), tensor(3, 3, 2, 4), padding=-1),
            "negative",
        ),
        (lambda: ln.max_pool(tensor(1, 5, 4, 2)), r"\(1, 5, 4, 2\).*\(2, 2\)"),
        (lambda: ln.max_pool(tensor(4, 4, 2)), r"\(4, 4, 2\)"),
        (lambda: ln.max_pool(tensor(1, 4, 4, 2), 0), r"\(0, 0\)"),
        (
            lambda: ln.cross_entropy(tensor(3, 2), np.zeros(2, int)),
            r"\(3, 2\).*\[0, 0\]",
        ),
        (
            lambda: ln.cross_entropy(tensor(3, 2), np.zeros(3)),
            "expected labels 0 ... 1",
        ),
        (lambda: ln.cross_entropy(tensor(3, 2), [0, 1, 2]), "expected labels 0 ... 1"),
        (lambda: ln.cross_entropy(tensor(0, 2), np.zeros(0, int)), "expected labels"),
        (lambda: ln.mean_squared_error(tensor(3, 1), np.zeros(3)), r"\(3, 1\).*\(3,\)"),
        (lambda: ln.Dropout(1.0, None), r"\[0, 1\), got 1.0"),
        (lambda: tensor(2).backward(), r"\(2,\)"),
        (lambda: Tensor(1.0).backward(), "depends on a parameter"),
        (
            lambda: ln.fit(build(), np.ones((3, 4)), np.ones(2, int), None, None, 1, 2),
            r"\(3, 4\).*\(2,\)",
        ),
        (lambda: ln.predict(build(), np.ones((3, 4)), 0), "0 < 1"),
        (
            lambda: ln.evaluate(build(), np.ones((0, 4)), np.ones(0), ln.cross_entropy),
            r"\(0, 4\)",
        ),
    ],
)
def test_bad_shapes_and_values_are_named(call, named):
    with pytest.raises(ValueError, match=named):
        call()


def test_power_of_a_tensor_is_refused():
    with pytest.raises(TypeError):
        tensor(2) ** tensor(2)


def test_module_stays_small_and_needs_numpy_only():
    source = inspect.getsource(ln)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    lines, modules = set(), set()
    for number, line in enumerate(source.splitlines(), start=1):
        if line.strip() and not line.strip().startswith("#"):
            lines.add(number)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, documented) and ast.get_docstring(node):
            text = node.body[0]
            lines -= set(range(text.lineno, text.end_lineno + 1))
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    assert len(lines) <= 300
    assert modules == {"contextlib", "functools", "numpy", "numpy.lib.stride_tricks"}
