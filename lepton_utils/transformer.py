"""A translator: Transformer encoder and decoder, its loss, and beam search.

Symbols are int, 0 is padding. Taught in chapters/language/07_translation; attention
and masks in chapters/language/06_attention.
"""

from functools import lru_cache

import keras
import numpy as np
from keras import layers, ops

from lepton_utils.arguments import check_number


@keras.saving.register_keras_serializable("lepton")
class SymbolTable(layers.Layer):
    """A vector for each symbol plus one for its place; reversed, logits from vectors.

    Source: vaswani2017 for the waves, press2017 for one table in both directions.
    """

    def __init__(self, num_symbols, width, **settings):
        super().__init__(**settings)
        start = keras.initializers.RandomNormal(stddev=width**-0.5)
        self.table = self.add_weight((num_symbols, width), start, name="table")

    def get_config(self):
        """Return what `__init__` was given."""
        num_symbols, width = self.table.shape
        return super().get_config() | {"num_symbols": num_symbols, "width": width}

    def call(self, x, reverse=False):
        """Symbols (batch, T) -> vectors (batch, T, width); reversed, -> logits."""
        if reverse:
            return ops.matmul(x, ops.transpose(self.table))
        width = self.table.shape[1]
        return ops.take(self.table, x, axis=0) * width**0.5 + positions(
            ops.shape(x)[1], width
        )


def positions(length, width):
    """Sines and cosines of the places 0 to length - 1: (length, width) float32."""
    rates = 10_000.0 ** (-np.arange(0, width, 2, dtype="float32") / width)
    angles = ops.cast(ops.arange(length), "float32")[:, None] * rates
    return ops.concatenate([ops.sin(angles), ops.cos(angles)], axis=-1)


def _norm(name=None):
    return layers.LayerNormalization(epsilon=1e-5, name=name)


def _attention(num_heads, width):
    return layers.MultiHeadAttention(num_heads, width // num_heads)


def _feed_forward(x, width, dropout):
    y = layers.Dense(2 * width, activation="relu")(_norm()(x))
    return x + layers.Dropout(dropout)(layers.Dense(width)(y))


def build_encoder(num_symbols, width, num_heads, num_layers, dropout):
    """Keras model: symbols (batch, S) -> vectors (batch, S, width)."""
    source = layers.Input((None,), dtype="int32")
    seen = ops.not_equal(source, 0)[:, None]  # (batch, 1, S): keys to look at
    x = layers.Dropout(dropout)(SymbolTable(num_symbols, width, name="table")(source))
    for _ in range(num_layers):
        y = _norm()(x)
        y = _attention(num_heads, width)(y, y, attention_mask=seen)
        x = x + layers.Dropout(dropout)(y)
        x = _feed_forward(x, width, dropout)
    return keras.Model(source, _norm()(x), name="encoder")


def build_decoder(num_symbols, width, num_heads, num_layers, dropout):
    """Keras model: encoder's output, source, target -> logits (batch, T, symbols)."""
    memory = layers.Input((None, width))
    source = layers.Input((None,), dtype="int32")
    target = layers.Input((None,), dtype="int32")
    seen = ops.not_equal(source, 0)[:, None]
    table = SymbolTable(num_symbols, width, name="table")
    x = layers.Dropout(dropout)(table(target))
    for _ in range(num_layers):
        y = _norm()(x)
        y = _attention(num_heads, width)(y, y, use_causal_mask=True)
        x = x + layers.Dropout(dropout)(y)
        cross = _attention(num_heads, width)
        y = cross(_norm()(x), memory, attention_mask=seen)
        x = x + layers.Dropout(dropout)(y)
        x = _feed_forward(x, width, dropout)
    logits = table(_norm("last")(x), reverse=True)
    return keras.Model([memory, source, target], logits, name="decoder")


def build_translator(
    num_source, num_target, width=128, num_heads=4, num_layers=2, dropout=0.1
):
    """Build a Transformer that reads one sequence and continues another, pre-norm.

    Args:
        num_source: int >= 2, symbols of the source, 0 = padding among them.
        num_target: int >= 2, symbols of the target, padding, begin and end among them.
        width: int, numbers a position; even, and a multiple of num_heads.
        num_heads: int >= 1.
        num_layers: int >= 1, blocks of the encoder, and of the decoder.
        dropout: float in [0, 1).

    Returns:
        Keras model: [source (batch, S) int, target (batch, T) int] -> logits (batch, T,
        num_target) for the symbol that follows each of the target. Padding stands on
        the right. Its layers "encoder" and "decoder" are models, too.

    Raises:
        ValueError: if an argument is out of its range.

    Source: vaswani2017. Taught in chapters/language/07_translation.
    """
    for name, value, low in (
        ("num_source", num_source, 2),
        ("num_target", num_target, 2),
        ("width", width, 2),
        ("num_heads", num_heads, 1),
        ("num_layers", num_layers, 1),
    ):
        check_number(name, value, low, integer=True)
    if width % num_heads or width % 2:
        raise ValueError(
            f"width must be even and a multiple of num_heads, got {width}, {num_heads}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be in [0, 1), got {dropout}")
    source = layers.Input((None,), dtype="int32", name="source")
    target = layers.Input((None,), dtype="int32", name="target")
    sizes = width, num_heads, num_layers, dropout
    encoder = build_encoder(num_source, *sizes)
    decoder = build_decoder(num_target, *sizes)
    logits = decoder([encoder(source), source, target])
    return keras.Model([source, target], logits)


def smoothed_loss(smoothing=0.1):
    """Make the cross-entropy with a smoothed target, in nats a symbol without padding.

    Args:
        smoothing: float in [0, 1), the probability spread over all symbols alike.

    Returns:
        function of symbols (batch, T) and logits (batch, T, symbols), for `compile`.

    Raises:
        ValueError: if the smoothing is out of its range.

    Source: szegedy2016. Taught in chapters/language/07_translation.
    """
    if not 0 <= smoothing < 1:
        raise ValueError(f"smoothing must be in [0, 1), got {smoothing}")

    def loss(y, logits):
        num_symbols = logits.shape[-1]
        target = ops.one_hot(y, num_symbols, dtype=logits.dtype)
        target = (1 - smoothing) * target + smoothing / num_symbols
        nats = ops.categorical_crossentropy(target, logits, from_logits=True)
        real = ops.cast(y != 0, logits.dtype)
        return ops.sum(nats * real) / ops.maximum(ops.sum(real), 1.0)

    return loss


def pad(sequences, length=None):
    """Fill sequences up with 0 on the right: int32 array (n, longest, or length).

    Raises:
        ValueError: if a sequence is longer than the length.
    """
    longest = max(map(len, sequences), default=0)
    if length is not None and longest > length:
        raise ValueError(f"sequences must have at most {length} symbols, got {longest}")
    array = np.zeros((len(sequences), longest if length is None else length), np.int32)
    for row, sequence in zip(array, sequences, strict=True):
        row[: len(sequence)] = sequence
    return array


def beam_search(
    next_log_probabilities,
    begin,
    end,
    width=4,
    max_length=50,
    length_power=0.6,
    num_texts=1,
):
    """Find the probable continuations of several texts, side by side.

    In each step, of all continuations of a text by one symbol the `width` most probable
    are kept; those that end are set aside with the score (sum of log-probabilities) /
    length ** length_power, where the length counts the end, not the begin. A text is
    done when nothing that still runs can overtake its best. Width 1 is greedy.

    Args:
        next_log_probabilities: callable; prefixes (n, t) int, beginning with `begin`,
            and the text (n,) that each belongs to -> (n, symbols) log-probabilities.
        begin: int, symbol that every prefix begins with.
        end: int, symbol that ends a text.
        width: int >= 1.
        max_length: int >= 1, symbols of a result; what has not ended then is cut.
        length_power: float >= 0; 0 compares sums.
        num_texts: int >= 1.

    Returns:
        list of (symbols, score), one a text: list of int without begin and end, float.

    Raises:
        ValueError: if an argument is out of its range.

    Source: wu2016. Taught in chapters/language/07_translation.
    """
    check_number("width", width, 1, integer=True)
    check_number("max_length", max_length, 1, integer=True)
    check_number("length_power", length_power, 0)
    check_number("num_texts", num_texts, 1, integer=True)
    best = [([], -np.inf)] * num_texts
    prefixes = np.full((num_texts, 1), begin, dtype=np.int32)
    sums, texts = np.zeros(num_texts), np.arange(num_texts)
    for length in range(1, max_length + 1):
        totals = sums[:, None] + next_log_probabilities(prefixes, texts)
        kept = []  # (row, symbol) of what goes on
        for number in np.unique(texts):
            rows = np.flatnonzero(texts == number)
            for row, symbol in _largest(totals, rows, width):
                if symbol != end and length < max_length:
                    kept.append((row, symbol))
                    continue
                score = totals[row, symbol] / length**length_power
                if score > best[number][1]:
                    found = [*prefixes[row, 1:].tolist(), symbol]
                    best[number] = found[: -1 if symbol == end else None], score
        reachable = max_length**length_power  # sums only fall
        kept = [(r, s) for r, s in kept if totals[r, s] / reachable > best[texts[r]][1]]
        if not kept:
            break
        rows, symbols = np.array(kept).T
        prefixes = np.column_stack([prefixes[rows], symbols]).astype(np.int32)
        sums, texts = totals[rows, symbols], texts[rows]
    return [(symbols, float(score)) for symbols, score in best]


def _largest(totals, rows, width):
    """Rows and symbols of the largest finite totals among these rows."""
    flat = totals[rows].ravel()
    chosen = np.argpartition(-flat, min(width, flat.size) - 1)[:width]
    chosen = chosen[np.isfinite(flat[chosen])]
    return [(rows[i // totals.shape[1]], int(i % totals.shape[1])) for i in chosen]


@lru_cache(maxsize=2)  # kept, for its graph is made in the first call and then fast
def _last_vectors(model):
    """Decoder of a translator, without the logits."""
    decoder = model.get_layer("decoder")
    return keras.Model(decoder.inputs, decoder.get_layer("last").output)


def translate(
    model,
    sources,
    begin,
    end,
    width=1,
    max_length=50,
    length_power=0.6,
    batch_size=100,
):
    """Translate sequences by greedy (width 1) or beam search, a batch at a time.

    Args:
        model: from `build_translator`.
        sources: list of sequences of int, without padding; an empty one is refused.
        begin: int, symbol that every prefix begins with.
        end: int, symbol that ends a text.
        width: int >= 1, hypotheses kept.
        max_length: int >= 1, symbols of a result.
        length_power: float >= 0, of the score, as in `beam_search`.
        batch_size: int >= 1, sources side by side; those of like length go together.

    Returns:
        list of lists of int, in the order of the sources.

    Raises:
        ValueError: if a source is empty, or an argument out of its range.

    Taught in chapters/language/07_translation.
    """
    check_number("batch_size", batch_size, 1, integer=True)
    if empty := [i for i, source in enumerate(sources) if len(source) == 0]:
        raise ValueError(
            f"sources must not be empty, got number {empty[0]} of length 0"
        )
    encoder, decoder = model.get_layer("encoder"), model.get_layer("decoder")
    table, vectors = decoder.get_layer("table"), _last_vectors(model)
    found = [None] * len(sources)
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        batch = pad([sources[i] for i in chosen])
        memory = ops.convert_to_numpy(encoder(batch))

        def next_log_probabilities(prefixes, texts, batch=batch, memory=memory):
            inputs = [memory[texts], batch[texts], prefixes]
            x = vectors.predict_on_batch(inputs)[:, -1]
            logits = ops.log_softmax(table(x, reverse=True))
            return ops.convert_to_numpy(logits).astype(float)

        settings = width, max_length, length_power, len(chosen)
        results = beam_search(next_log_probabilities, begin, end, *settings)
        for i, (symbols, _) in zip(chosen, results, strict=True):
            found[i] = symbols
    return found
