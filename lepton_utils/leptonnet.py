"""LeptonNet: neural networks from NumPy alone.

A `Tensor` remembers how it was computed; `Tensor.backward` walks that record from the
end to the start and leaves in every parameter the gradient of a loss: reverse-mode
automatic differentiation {cite:p}`baydin2018automatic`. Every operation is a NumPy
function with one gradient rule an input (`operation`); layers, losses, optimizers,
the training loop and weight files are built on that.

Images are (batch, height, width, channels), sequences (batch, time, features), as in
Keras. Results and gradients have the dtype of the tensors, float32 or float64; a number
or an array that meets a tensor takes the tensor's dtype.

Taught in chapters/mathematics/04_leptonnet.
"""

import contextlib
import functools

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

BLOCK = 2**19  # numbers of image windows copied at a time: 2 MB stay in the cache


# ---- operations: a function of arrays, and a gradient rule for each input


def operation(function, *rules):
    """Turn a function of arrays into an operation on tensors that records itself.

    Args:
        function: takes as many arrays as there are rules, then other arguments.
        *rules: one an input, ``rule(g, out, *arrays, *arguments)``: from ``g``,
            the gradient of the loss with respect to the output ``out``, to that with
            respect to the input, in the input's shape or the one it was broadcast to.

    Returns:
        the operation: tensors, numbers or arrays and other arguments in, Tensor out.
        Where the function raises ValueError, it raises one that names all shapes.
    """

    @functools.wraps(function)
    def apply(*inputs, **options):
        inputs, arguments = inputs[: len(rules)], inputs[len(rules) :]
        dtype = next((x.dtype for x in inputs if isinstance(x, Tensor)), None)
        inputs = [x if isinstance(x, Tensor) else Tensor(x, dtype) for x in inputs]
        arrays = [x.data for x in inputs]
        try:
            out = function(*arrays, *arguments, **options)
        except ValueError as error:
            raise ValueError(f"shapes {[x.shape for x in inputs]}: {error}") from None

        def bind(rule):
            return lambda g: rule(g, out, *arrays, *arguments, **options)

        return Tensor(out, edges=zip(inputs, map(bind, rules), strict=True))

    return apply


def unbroadcast(gradient, shape):
    """Sum a gradient over the axes along which an array of ``shape`` was repeated."""
    if gradient.shape == shape:
        return gradient
    new = gradient.ndim - len(shape)
    repeated = [new + i for i, n in enumerate(shape) if n != gradient.shape[new + i]]
    return gradient.sum(axis=(*range(new), *repeated)).reshape(shape)


def matmul(a, b):
    """Multiply matrices, or stacks of them; refuse single vectors."""
    if min(a.ndim, b.ndim) < 2:
        raise ValueError("both must be matrices; reshape a vector to a row or column")
    return a @ b


def _restore(reduced, x, axis):
    """Give a reduced array its lost axes back, with length 1."""
    kept = axis is None or reduced.ndim == x.ndim
    return reduced if kept else np.expand_dims(reduced, axis)


def _sum_rule(g, out, x, axis=None, keepdims=False):
    return np.broadcast_to(_restore(g, x, axis), x.shape)


def _max_rule(g, out, x, axis=None, keepdims=False):
    share = (x == _restore(out, x, axis)).astype(x.dtype)
    return share * (_restore(g, x, axis) / share.sum(axis=axis, keepdims=True))


def _transpose_rule(g, out, x, axes=None):
    return g.transpose(axes and np.argsort(axes))


def _getitem_rule(g, out, x, index):
    full = np.zeros_like(x)
    np.add.at(full, index, g)  # an element that was read twice receives both
    return full


def _reflected(operation):
    """Swap the operands: Python calls ``2 - x`` as ``x.__rsub__(2)``."""
    return lambda self, other: operation(other, self)


class Tensor:
    """An array that remembers how it was computed.

    Args:
        data: number, list or array, any shape; what is not floating becomes float64.
        dtype: numpy dtype, or None to keep that of the data.
        needs_grad: bool, whether `backward` shall compute a gradient for it.
        edges: (parent, rule) pairs, what it was computed from; the rule takes this
            tensor's gradient to the parent's. Parents that need none are dropped.

    Attributes:
        grad: 0, or an array of the tensor's shape; only leaves, without edges, get one.
    """

    __slots__ = ("data", "edges", "grad", "needs_grad")
    __array_ufunc__ = None  # leaves array + tensor to Tensor.__radd__
    recording = True  # no_grad switches it off

    def __init__(self, data, dtype=None, needs_grad=False, edges=()):
        data = np.asarray(data, dtype)
        self.data = data if data.dtype.kind == "f" else data.astype(np.float64)
        self.edges = [edge for edge in edges if edge[0].needs_grad and Tensor.recording]
        self.needs_grad, self.grad = needs_grad or bool(self.edges), 0

    shape = property(lambda self: self.data.shape)
    dtype = property(lambda self: self.data.dtype)

    def __repr__(self):
        return f"Tensor(shape={self.shape}, dtype={self.dtype})"

    __add__ = operation(np.add, lambda g, y, a, b: g, lambda g, y, a, b: g)
    __sub__ = operation(np.subtract, lambda g, y, a, b: g, lambda g, y, a, b: -g)
    __mul__ = operation(np.multiply, lambda g, y, a, b: g * b, lambda g, y, a, b: g * a)
    __truediv__ = operation(
        np.divide, lambda g, y, a, b: g / b, lambda g, y, a, b: -g * y / b
    )
    __matmul__ = operation(
        matmul, lambda g, y, a, b: g @ b.mT, lambda g, y, a, b: a.mT @ g
    )
    __radd__, __rmul__, __rmatmul__ = map(_reflected, (__add__, __mul__, __matmul__))
    __rsub__, __rtruediv__ = map(_reflected, (__sub__, __truediv__))
    __neg__ = operation(np.negative, lambda g, y, x: -g)
    __pow__ = operation(np.power, lambda g, y, x, n: g * n * x ** (n - 1 if n else 0))
    exp = operation(np.exp, lambda g, y, x: g * y)
    log = operation(np.log, lambda g, y, x: g / x)
    tanh = operation(np.tanh, lambda g, y, x: g * (1 - y * y))
    relu = operation(lambda x: np.maximum(x, 0), lambda g, y, x: g * (x > 0))
    sum = operation(np.sum, _sum_rule)
    max = operation(np.max, _max_rule)  # equal ones share the gradient
    reshape = operation(np.reshape, lambda g, y, x, shape: g.reshape(x.shape))
    transpose = operation(np.transpose, _transpose_rule)
    __getitem__ = operation(lambda x, index: x[index], _getitem_rule)

    def sigmoid(self):
        """Return 1 / (1 + exp(-x)) by way of tanh, which cannot overflow."""
        return (self * 0.5).tanh() * 0.5 + 0.5

    def mean(self, axis=None, keepdims=False):
        """Average over an axis, a tuple of axes, or (None) all elements."""
        if not self.data.size:
            raise ValueError(f"mean of no elements: shape {self.shape}")
        total = self.sum(axis, keepdims=keepdims)
        return total * (total.data.size / self.data.size)

    def backward(self):
        """Add the gradient of this one-element tensor to ``grad`` of every leaf.

        Walks from the end of the record to its start. When a tensor's turn comes, all
        that used it had theirs, so its gradient is complete; each edge's rule turns it
        into a part of the parent's gradient, and the parts add up.

        Raises:
            ValueError: if it has more than one element, or needs no gradient.
        """
        if self.data.size != 1 or not self.needs_grad:
            raise ValueError(f"{self} is not one number that depends on a parameter")
        gradients = {self: np.ones_like(self.data)}
        for node in reversed(topological_order(self)):
            gradient = gradients.pop(node)
            if not node.edges:
                node.grad = np.asarray(node.grad + gradient, node.dtype)
            for parent, rule in node.edges:
                part = unbroadcast(rule(gradient), parent.shape)
                known = gradients.get(parent)
                gradients[parent] = part if known is None else known + part


def topological_order(root):
    """List a tensor and all it was computed from, parents first, each once.

    A depth-first search with its own stack: Python's recursion limit does not apply.
    """
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, parents_listed = stack.pop()
        if parents_listed:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack += [(node, True), *((parent, False) for parent, _ in node.edges)]
    return order


@contextlib.contextmanager
def no_grad():
    """Record nothing inside a ``with`` block: for inference."""
    before, Tensor.recording = Tensor.recording, False
    try:
        yield
    finally:
        Tensor.recording = before


def stack(tensors, axis=0):
    """Join tensors of one shape along a new axis."""
    rules = [lambda g, *_, i=i: g.take(i, axis) for i in range(len(tensors))]
    return operation(lambda *arrays: np.stack(arrays, axis), *rules)(*tensors)


# ---- convolution, pooling, losses


def _windows(images, kernel, stride, p):
    """Pad images by p; return them, and a view (n, rows, cols, k, k, c) of windows."""
    padded = np.pad(images, ((0, 0), (p, p), (p, p), (0, 0)))
    view = sliding_window_view(padded, kernel.shape[:2], axis=(1, 2), writeable=True)
    return padded, view[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)


def _blocks(windows):
    """Cut the batch into slices: about BLOCK numbers of windows, at least one image."""
    images = max(1, BLOCK // max(1, windows[:1].size))
    return [slice(i, i + images) for i in range(0, len(windows), images)]


def conv2d(images, kernel, stride=1, padding=0):
    """Slide a kernel over images: the matrix product of all windows with all filters.

    A block of windows at a time is copied out (im2col), and again for the gradient of
    the kernel: kept, the copies would take the images' memory times the kernel's area.

    Args:
        images: Tensor or array (batch, height, width, channels).
        kernel: Tensor or array (kernel height, kernel width, channels, filters).
        stride: int >= 1, step of the kernel along both axes.
        padding: int >= 0, rows and columns of zeros on each side.

    Returns:
        Tensor (batch, rows, columns, filters) in the dtype of the kernel, where rows =
        (height + 2 padding - kernel height) // stride + 1, and columns alike.

    Raises:
        ValueError: if the shapes do not fit, or stride or padding is out of range.
    """
    fit = images.ndim == kernel.ndim == 4 and images.shape[3] == kernel.shape[2]
    if not fit or stride < 1:
        raise ValueError("expected (batch, h, w, c), (k, k, c, filters), stride >= 1")
    _, windows = _windows(images, kernel, stride, padding)
    weights = kernel.reshape(-1, kernel.shape[3])
    out = np.empty((*windows.shape[:3], kernel.shape[3]), kernel.dtype)
    for block in _blocks(windows):
        columns = windows[block].reshape(-1, len(weights))  # the copy
        np.matmul(columns, weights, out=out[block].reshape(-1, kernel.shape[3]))
    return out


def _conv2d_kernel_rule(g, out, images, kernel, stride=1, padding=0):
    _, windows = _windows(images, kernel, stride, padding)
    total = np.zeros_like(kernel).reshape(-1, kernel.shape[3])
    for block in _blocks(windows):
        columns = windows[block].reshape(-1, len(total))
        total += columns.T @ g[block].reshape(-1, kernel.shape[3])
    return total.reshape(kernel.shape)


def _conv2d_images_rule(g, out, images, kernel, stride=1, padding=0):
    padded, windows = _windows(np.zeros_like(images), kernel, stride, padding)
    for block in _blocks(windows):
        part = np.tensordot(g[block], kernel, (3, 3))
        for i, j in np.ndindex(kernel.shape[:2]):  # windows overlap, one place does not
            windows[block, :, :, i, j] += part[:, :, :, i, j]
    _, h, w, _ = images.shape
    return padded[:, padding : padding + h, padding : padding + w]


conv2d = operation(conv2d, _conv2d_images_rule, _conv2d_kernel_rule)


def max_pool(images, size=2):
    """Take the largest of each size x size tile; equal ones share the gradient.

    Args:
        images: Tensor (batch, height, width, channels).
        size: int >= 1, side of a tile and stride; divides height and width.

    Returns:
        Tensor (batch, height // size, width // size, channels).
    """
    if len(images.shape) != 4 or size < 1 or np.mod(images.shape[1:3], size).any():
        raise ValueError(f"{images.shape} is not (n, h, w, c) of tiles {size, size}")
    n, h, w, c = images.shape
    rows = images.reshape((n, h // size, size, w * c)).max(axis=2)
    return rows.reshape((n, h // size, w // size, size, c)).max(axis=3)


def flatten(x):
    """Lay out each example of a batch as one row."""
    return x.reshape((x.shape[0], int(np.prod(x.shape[1:]))))


def _log_softmax(x):
    shifted = x - x.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def cross_entropy(logits, labels):
    """Average -log softmax(logits)[label], in one operation so that nothing overflows.

    Args:
        logits: Tensor (..., classes).
        labels: int array (...), 0 <= label < classes.

    Returns:
        Tensor with one element, in nats.

    Raises:
        ValueError: if labels are of another shape, no integers, none, or out of range.
    """
    labels, classes = np.asarray(labels), logits.shape[-1]
    fit = labels.shape == logits.shape[:-1] and labels.dtype.kind in "iu"
    if not fit or not labels.size or labels.min() < 0 or labels.max() >= classes:
        raise ValueError(f"expected labels 0 ... {classes - 1}, got {labels!r}")
    chosen = np.take_along_axis(_log_softmax(logits), labels[..., None], axis=-1)
    return -chosen.mean(dtype=logits.dtype)


def _cross_entropy_rule(g, out, logits, labels):
    one_hot = np.equal.outer(labels, np.arange(logits.shape[-1]))
    return g * (np.exp(_log_softmax(logits)) - one_hot) / np.size(labels)


cross_entropy = operation(cross_entropy, _cross_entropy_rule)


def mean_squared_error(outputs, targets):
    """Average the squared differences; the shapes must be equal."""
    if outputs.shape != np.shape(targets):
        raise ValueError(f"outputs {outputs.shape}, targets {np.shape(targets)}")
    return ((outputs - targets) ** 2).mean()


# ---- layers


class Layer:
    """A function with parameters: subclasses define ``__call__(self, x, training)``."""

    def parameters(self):
        """Return {name: Tensor}, those of layers in attributes or lists included."""
        return dict(_parameters("", self))


def _parameters(name, value):
    if isinstance(value, Tensor) and value.needs_grad:
        yield name, value
    inside = vars(value) if isinstance(value, Layer) else {}
    if isinstance(value, list | tuple):
        inside = dict(enumerate(value))
    for key, part in inside.items():
        yield from _parameters(f"{name}.{key}".lstrip("."), part)


def glorot(rng, *shape):
    """Draw a float32 parameter (..., inputs, units) as Keras does by default.

    Uniform within sqrt(6 / (inputs + units)) of zero {cite:p}`glorot2010understanding`;
    the axes before, a kernel's height and width, multiply both numbers.
    """
    limit = np.sqrt(6 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])))
    return Tensor(rng.uniform(-limit, limit, shape), np.float32, needs_grad=True)


class Dense(Layer):
    """Multiply the last axis by a matrix and add a bias.

    Args:
        inputs, units: int, lengths of the last axis before and after.
        rng: numpy Generator for the initial weights.
    """

    def __init__(self, inputs, units, rng):
        self.weights = glorot(rng, inputs, units)
        self.bias = Tensor(np.zeros(units), np.float32, needs_grad=True)

    def __call__(self, x, training=False):
        """Return x W + b."""
        return x @ self.weights + self.bias


class Conv2D(Layer):
    """Slide filters over images (batch, height, width, channels) and add a bias.

    Args:
        channels, filters: int, channels before and after.
        rng: numpy Generator for the initial kernel.
        size: int, side of the kernel.
        stride, padding: as in `conv2d`; padding (size - 1) / 2 keeps the image size.
    """

    def __init__(self, channels, filters, rng, size=3, stride=1, padding=0):
        self.kernel = glorot(rng, size, size, channels, filters)
        self.bias = Tensor(np.zeros(filters), np.float32, needs_grad=True)
        self.stride, self.padding = stride, padding

    def __call__(self, x, training=False):
        """Return the maps, (batch, rows, columns, filters)."""
        return conv2d(x, self.kernel, self.stride, self.padding) + self.bias


class Dropout(Layer):
    """In training, zero a share ``rate`` of the elements and scale up the rest.

    Args:
        rate: float in [0, 1).
        rng: numpy Generator that chooses them.
    """

    def __init__(self, rate, rng):
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be in [0, 1), got {rate}")
        self.rate, self.rng = rate, rng

    def __call__(self, x, training=False):
        """Return x, in training with some elements dropped."""
        kept = self.rng.random(x.shape) >= self.rate if training else None
        return x * (kept / (1 - self.rate)) if training else x


class Recurrent(Layer):
    """Read a sequence step by step: state = tanh(x_t W + b + state U), zero at first.

    Args:
        inputs, units: int, features of a step and of the state.
        rng: numpy Generator for the initial weights.
    """

    def __init__(self, inputs, units, rng):
        self.read, self.recur = Dense(inputs, units, rng), glorot(rng, units, units)

    def step(self, x, state):
        """Return the next state (batch, units) from an input (batch, inputs)."""
        return (self.read(x) + state @ self.recur).tanh()

    def __call__(self, x, training=False):
        """Return all states, (batch, time, units), for x (batch, time, inputs)."""
        states = [np.zeros((x.shape[0], self.recur.shape[0]))]
        for t in range(x.shape[1]):
            states.append(self.step(x[:, t], states[-1]))
        return stack(states[1:], axis=1)


class Sequential(Layer):
    """Apply layers, or functions of a Tensor such as ``Tensor.relu``, one by one."""

    def __init__(self, *layers):
        self.layers = layers

    def __call__(self, x, training=False):
        """Return what the last layer returns."""
        for layer in self.layers:
            x = layer(x, training) if isinstance(layer, Layer) else layer(x)
        return x


# ---- optimizers


class SGD:
    """Gradient descent with momentum as in Keras: v = momentum v - rate g; w = w + v.

    Args:
        parameters: dict of Tensors, from `Layer.parameters`; one that appears twice
            (tied weights) is moved once.
        learning_rate: float > 0.
        momentum: float in [0, 1).
    """

    def __init__(self, parameters, learning_rate, momentum=0.0):
        self.learning_rate, self.momentum, self.steps = learning_rate, momentum, 0
        self.memory = {p: np.zeros((2, *p.shape), p.dtype) for p in parameters.values()}

    def change(self, g, memory):
        """Return what to add to a parameter with gradient g; renew its memory."""
        memory[0] = self.momentum * memory[0] - self.learning_rate * g
        return memory[0]

    def step(self):
        """Move every parameter in place, then set its gradient to zero."""
        self.steps += 1
        for p, memory in self.memory.items():
            p.data += self.change(p.grad, memory)
            p.grad = 0


class Adam(SGD):
    """Adam in Keras's form: epsilon is added before the bias correction.

    Source: {cite:t}`kingma2015adam`, end of section 2.

    Args:
        parameters: dict of Tensors, from `Layer.parameters`.
        learning_rate: float > 0.
        betas: two floats in [0, 1), decay of the running means of g and of g * g.
        epsilon: float > 0, keeps the division finite.
    """

    def __init__(self, parameters, learning_rate, betas=(0.9, 0.999), epsilon=1e-7):
        super().__init__(parameters, learning_rate)
        self.betas, self.epsilon = betas, epsilon

    def change(self, g, memory):
        """Return what to add to a parameter with gradient g; renew its two means."""
        (mean, square), (b, c) = memory, self.betas
        mean += (1 - b) * (g - mean)
        square += (1 - c) * (g * g - square)
        rate = self.learning_rate * (1 - c**self.steps) ** 0.5 / (1 - b**self.steps)
        return -rate * mean / (np.sqrt(square) + self.epsilon)


# ---- training, evaluation, files


def _batches(x, y, batch_size, rng=None):
    """Yield (rows of x, rows of y), in the order of the rows or shuffled by ``rng``."""
    if len(x) != len(y) or not len(x) or batch_size < 1:
        raise ValueError(f"x {x.shape} and y {y.shape} do not fit, or {batch_size} < 1")
    order = rng.permutation(len(x)) if rng else np.arange(len(x))
    for start in range(0, len(x), batch_size):
        rows = order[start : start + batch_size]
        yield x[rows], y[rows]


def fit(model, x, y, loss, optimizer, epochs, batch_size, rng=None, val=(), metrics=()):
    """Train a model batch by batch.

    Args:
        model: Layer.
        x: array, one example a row.
        y: array, its targets, as many rows.
        loss: function (outputs, targets) -> Tensor of one element, a mean over rows.
        optimizer: SGD or Adam over the model's parameters.
        epochs: int >= 0, passes over all rows.
        batch_size: int >= 1, rows a step.
        rng: numpy Generator that shuffles the rows anew each epoch, or None.
        val: (x, y) to evaluate after each epoch, or () for none.
        metrics: functions (outputs array, targets) -> float, for the evaluation.

    Returns:
        dict of lists, a value an epoch: "loss" (mean over the epoch's rows as they
        came), and "val_loss" and "val_" + each metric's name.
    """
    history = {"loss": []}
    for _ in range(epochs):
        total = 0.0
        for rows, targets in _batches(x, y, batch_size, rng):
            value = loss(model(rows, training=True), targets)
            value.backward()
            optimizer.step()
            total += value.data.item() * len(rows) / len(x)
        history["loss"].append(total)
        scores = evaluate(model, *val, loss, metrics) if val else {}
        for name, score in scores.items():
            history.setdefault(f"val_{name}", []).append(score)
    return history


def predict(model, x, batch_size=256):
    """Return the model's outputs, one array for all rows; no record is kept."""
    with no_grad():
        return np.concatenate([model(r).data for r, _ in _batches(x, x, batch_size)])


def evaluate(model, x, y, loss, metrics=()):
    """Return {"loss": float, metric's name: float, ...} of the outputs for all rows."""
    outputs = predict(model, x)
    scores = {"loss": loss(Tensor(outputs), y).data.item()}
    return scores | {metric.__name__: metric(outputs, y) for metric in metrics}


def accuracy(outputs, labels):
    """Return the share of labels that are the place of the largest output, a float."""
    return float(np.mean(outputs.argmax(axis=-1) == labels))


def save(model, path):
    """Write a model's parameters to an .npz file: named arrays, nothing to execute."""
    with open(path, "wb") as file:
        np.savez(file, **{name: p.data for name, p in model.parameters().items()})


def load(model, path):
    """Read parameters that `save` wrote into a model of the same structure.

    Raises:
        ValueError: if the file is damaged, or its names or shapes are not the model's;
            the message says what came and what was expected. The model stays as it was.
    """
    with open(path, "rb") as file:
        try:
            members = np.load(file, allow_pickle=False).items()
            arrays = {name: np.asarray(array, np.float64) for name, array in members}
        except Exception as error:  # each part of an .npz file breaks in its own way
            raise ValueError(f"{path} is damaged or no .npz file: {error}") from None
    came = {name: array.shape for name, array in arrays.items()}
    expected = {name: p.shape for name, p in model.parameters().items()}
    if came != expected:
        raise ValueError(f"{path} holds {came}, the model expects {expected}")
    for name, p in model.parameters().items():
        p.data[...] = arrays[name]
