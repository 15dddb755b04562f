"""The translator: what its decoder may see, and beam search against a full search."""

from itertools import product

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import log_softmax

from lepton_utils import transformer

END, SYMBOLS = 1, 4  # 0 = begin, 1 = end, two others


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return transformer.build_translator(7, 9, width=16, num_heads=2, num_layers=2)


def run(model, source, target):
    inputs = [np.array(source, np.int32), np.array(target, np.int32)]
    return ops.convert_to_numpy(model(inputs))


def random_table(seed):
    """Log-probabilities of the next symbol after each prefix, drawn once."""
    rng, table = np.random.default_rng(seed), {}

    def next_log_probabilities(prefixes, texts):
        rows = []
        for key in zip(map(tuple, prefixes), texts, strict=True):
            rows.append(table.setdefault(key, log_softmax(rng.normal(size=SYMBOLS))))
        return np.array(rows)

    return next_log_probabilities


def score_all(function, text, max_length, power):
    """Every result up to a length with its score; what has not ended is cut."""
    scores = {}
    for length in range(1, max_length + 1):
        for symbols in product(range(SYMBOLS), repeat=length):
            if END in symbols[:-1] or (length < max_length and symbols[-1] != END):
                continue
            total = sum(
                function(np.array([[0, *symbols[:i]]]), [text])[0, symbols[i]]
                for i in range(length)
            )
            key = symbols[:-1] if symbols[-1] == END else symbols
            scores[key, length] = total / length**power
    return scores


# The model


def test_the_decoder_sees_nothing_of_the_future(model):
    source, target = [[1, 2, 3, 4]], [[2, 3, 4, 5, 6]]
    before = run(model, source, target)
    for place in range(5):
        changed = np.array(target)
        changed[0, place] = 8
        gap = abs(run(model, source, changed) - before).max(axis=-1)[0]
        assert gap[:place].max(initial=0) < 1e-6 and gap[place] > 1e-3


def test_padding_changes_nothing_and_the_source_does(model):
    before = run(model, [[1, 2, 3]], [[2, 3]])
    padded = run(model, [[1, 2, 3, 0, 0]], [[2, 3, 0]])
    assert np.allclose(padded[:, :2], before, atol=1e-5)
    assert abs(run(model, [[1, 2, 4]], [[2, 3]]) - before).max() > 1e-3
    assert abs(run(model, [[2, 1, 3]], [[2, 3]]) - before).max() > 1e-3


def test_the_parameters_are_as_derived(model):
    d = 16
    encoder, decoder = 8 * d**2 + 11 * d, 12 * d**2 + 17 * d
    assert model.count_params() == 2 * (encoder + decoder) + 4 * d + (7 + 9) * d


def test_it_learns_to_reverse_and_has_a_config():
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    model = transformer.build_translator(8, 10, 32, 2, 1, dropout=0)
    x = rng.integers(1, 8, (1024, 3))
    y = np.column_stack([np.full(1024, 8), x[:, ::-1], np.full(1024, 9)])
    optimizer = keras.optimizers.Adam(5e-3)
    model.compile(optimizer, transformer.smoothed_loss(0.1), jit_compile=False)
    model.fit([x, y[:, :-1]], y[:, 1:], batch_size=64, epochs=12, verbose=0)
    sources = [list(row) for row in x[:50]] + [[3]]
    found = transformer.translate(model, sources, begin=8, end=9, batch_size=20)
    right = [a == b[::-1] for a, b in zip(found[:50], sources[:50], strict=True)]
    assert np.mean(right) > 0.9 and len(found) == 51
    again = keras.Model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    assert transformer.translate(again, sources[:5], 8, 9, width=3) == found[:5]


# The loss


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_that_of_keras_without_padding(smoothing):
    logits = np.random.default_rng(0).normal(size=(2, 3, 5)).astype("float32")
    y = np.array([[1, 4, 2], [3, 0, 0]])
    keep = y != 0
    truth = keras.losses.CategoricalCrossentropy(True, smoothing)
    expected = float(truth(np.eye(5)[y[keep]], logits[keep]))
    loss = transformer.smoothed_loss(smoothing)
    assert np.isclose(float(loss(y, logits)), expected, atol=1e-6)
    assert float(loss(0 * y, logits)) == 0


# Beam search


@pytest.mark.parametrize("power", [0, 0.6, 1])
def test_a_beam_of_all_prefixes_is_a_full_search(power):
    for seed in range(5):
        function = random_table(seed)
        found = transformer.beam_search(function, 0, END, 200, 4, power, num_texts=2)
        for text, (symbols, score) in enumerate(found):
            scores = score_all(function, text, 4, power)
            (best, _), expected = max(scores.items(), key=lambda item: item[1])
            assert symbols == list(best) and np.isclose(score, expected)


def test_width_one_is_greedy_and_texts_do_not_mix():
    function = random_table(0)
    found = transformer.beam_search(function, 0, END, 1, 6, num_texts=3)
    for text in range(3):
        prefix = [0]
        while len(prefix) <= 6:
            symbol = int(function(np.array([prefix]), [text])[0].argmax())
            if symbol == END:
                break
            prefix.append(symbol)
        assert found[text][0] == prefix[1:]


def test_a_forbidden_symbol_is_never_taken():
    def function(prefixes, texts):
        return np.tile([-np.inf, -np.inf, 0.0, -np.inf], (len(prefixes), 1))

    assert transformer.beam_search(function, 0, END, 4, 3) == [([2, 2, 2], 0.0)]


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_source": 1}, "num_source is 1; expected an integer >= 2"),
        ({"width": 30}, "width must be even and a multiple of num_heads, got 30, 4"),
        ({"width": 15, "num_heads": 5}, "width must be even"),
        ({"num_layers": 0}, "num_layers is 0; expected an integer >= 1"),
        ({"dropout": 1}, r"dropout must be in \[0, 1\), got 1"),
    ],
)
def test_bad_sizes_are_named(arguments, message):
    sizes = {"num_source": 5, "num_target": 5} | arguments
    with pytest.raises(ValueError, match=message):
        transformer.build_translator(**sizes)


def test_a_translation_follows_the_weights():
    model = transformer.build_translator(7, 9, width=16, num_heads=2, num_layers=1)
    bias = model.get_layer("decoder").get_layer("last").beta
    table = model.get_layer("decoder").get_layer("table").table
    for symbol in (3, 5):  # the decoder's graph is kept between the two
        bias.assign(100 * table[symbol])
        best = int(ops.argmax(ops.matmul(table, table[symbol])))
        found = transformer.translate(model, [[1, 2]], 1, 2, max_length=3)
        assert found == [[best] * 3]


def test_bad_searches_are_named(model):
    with pytest.raises(ValueError, match="width is 0; expected an integer >= 1"):
        transformer.beam_search(random_table(0), 0, END, width=0)
    with pytest.raises(ValueError, match="length_power is -1; expected a number >= 0"):
        transformer.beam_search(random_table(0), 0, END, length_power=-1)
    with pytest.raises(ValueError, match="got number 1 of length 0"):
        transformer.translate(model, [[1], []], 1, 2)
    with pytest.raises(ValueError, match=r"smoothing must be in \[0, 1\), got 1"):
        transformer.smoothed_loss(1)
    with pytest.raises(ValueError, match="at most 2 symbols, got 3"):
        transformer.pad([[1, 2, 3], [1]], 2)
