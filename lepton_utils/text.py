"""Tokens: words of English, words of Chinese, symbols of a byte-pair encoding.

Taught in chapters/language/01_text; drawing the next one in chapters/language/04_rnn.
"""

import re
from collections import Counter, defaultdict
from functools import lru_cache
from importlib.util import find_spec
from itertools import pairwise
from math import inf, log
from pathlib import Path

import numpy as np

TOKEN = re.compile(
    r"https?://\S+|\d+(?:[.,:]\d+)*|[^\W\d_]+(?:['’][^\W\d_]+)*|\S",
)
PIECE = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")


def tokenize(text):
    """Split a text into lower-cased words, numbers and single signs, a list of str."""
    return TOKEN.findall(text.lower())


@lru_cache(maxsize=1)
def load_dictionary():
    """Read jieba's dictionary of simplified Chinese: word -> count, about 349,000.

    Raises:
        ModuleNotFoundError: if jieba is not installed (it is not imported).
    """
    found = find_spec("jieba")
    if found is None:
        raise ModuleNotFoundError("jieba is missing: pip install jieba")
    lines = Path(found.origin).with_name("dict.txt").read_text("utf8").splitlines()
    return {word: int(count) for word, count, _ in map(str.split, lines)}


@lru_cache(maxsize=1)
def _total():
    return sum(load_dictionary().values())


def segment(text, counts=None, longest=16):
    """Find the most probable words of a Chinese text, drawn independently.

    Args:
        text: str.
        counts: dict, word -> count; default: jieba's. A character that it lacks counts
            as seen once.
        longest: int >= 1, characters of the longest word that is tried.

    Returns:
        list of str, which joined give the text.

    Raises:
        ValueError: if there are no counts.
    """
    total = _total() if counts is None else sum(counts.values())
    counts = load_dictionary() if counts is None else counts
    if total <= 0:
        raise ValueError(f"counts must hold at least one word, got {total} in all")
    best, origin = [0.0] + [-inf] * len(text), [0] * (len(text) + 1)
    for end in range(1, len(text) + 1):
        for begin in range(max(0, end - longest), end):
            count = counts.get(text[begin:end], 0) or int(end - begin == 1)
            score = best[begin] + log(count / total) if count else -inf
            if score > best[end]:
                best[end], origin[end] = score, begin
    words, end = [], len(text)
    while end:
        words.append(text[origin[end] : end])
        end = origin[end]
    return words[::-1]


def cut_pieces(text):
    """Count the pieces that no symbol crosses, each a tuple of its bytes in UTF-8."""
    return Counter(tuple(piece.encode()) for piece in PIECE.findall(text))


def merge(symbols, pair, new):
    """Replace every occurrence of a pair in a tuple of symbols, from the left."""
    merged, i = [], 0
    while i < len(symbols):
        found = symbols[i : i + 2] == pair
        merged.append(new if found else symbols[i])
        i += 2 if found else 1
    return tuple(merged)


def train_bpe(pieces, num_merges):
    """Learn a byte-pair encoding; it ends early when no pair is left.

    Args:
        pieces: dict, tuple of bytes -> count, from `cut_pieces`.
        num_merges: int >= 0.

    Returns:
        dict, pair of symbols -> new symbol (256, 257, ...), in the order of merging.

    Raises:
        ValueError: if num_merges is negative.

    Source: sennrich2016.
    """
    if num_merges < 0:
        raise ValueError(f"num_merges must be at least 0, got {num_merges}")
    table = [[symbols, count] for symbols, count in pieces.items()]
    pairs, where = Counter(), defaultdict(set)

    def count(index, sign):
        symbols, number = table[index]
        for pair in pairwise(symbols):
            pairs[pair] += sign * number
            where[pair].add(index)

    for index in range(len(table)):
        count(index, 1)
    merges = {}
    for new in range(256, 256 + num_merges):
        best = max(pairs, key=lambda pair: (pairs[pair], pair), default=None)
        if best is None or pairs[best] < 1:
            break
        merges[best] = new
        for index in list(where[best]):
            count(index, -1)
            table[index][0] = merge(table[index][0], best, new)
            count(index, 1)
    return merges


def encode(text, merges):
    """Turn any text into a list of symbols, int; `decode` inverts it.

    Raises:
        UnicodeEncodeError: if the text holds half of a surrogate pair.
    """
    encoded = []
    for piece in PIECE.findall(text):
        symbols = tuple(piece.encode())
        while len(symbols) > 1:
            best = min(pairwise(symbols), key=lambda pair: merges.get(pair, inf))
            if best not in merges:
                break
            symbols = merge(symbols, best, merges[best])
        encoded.extend(symbols)
    return encoded


def vocabulary(merges):
    """Bytes of each symbol: dict, int -> bytes, the 256 single bytes first."""
    table = {symbol: bytes([symbol]) for symbol in range(256)}
    for (first, second), new in merges.items():
        table[new] = table[first] + table[second]
    return table


def decode(symbols, table):
    """Turn symbols back into a text; incomplete characters become U+FFFD.

    Args:
        symbols: iterable of int.
        table: dict, from `vocabulary`.

    Raises:
        ValueError: if a symbol is not in the table.
    """
    symbols = list(symbols)
    if unknown := [symbol for symbol in symbols if symbol not in table]:
        raise ValueError(f"symbols must be in the table, got {unknown[0]}")
    return b"".join(table[symbol] for symbol in symbols).decode(errors="replace")


def find_copied(text, source, length):
    """Mark what lies in a run of so many symbols that the source has too.

    Args:
        text: str, or sequence of hashable symbols.
        source: the same kind.
        length: int >= 1, symbols in a run.

    Returns:
        bool array (len(text),).

    Raises:
        ValueError: if length is below 1.
    """
    if length < 1:
        raise ValueError(f"length must be at least 1, got {length}")
    if not isinstance(text, str):
        text, source = (tuple(np.asarray(part).tolist()) for part in (text, source))
    seen = {source[i : i + length] for i in range(len(source) - length + 1)}
    copied = np.zeros(len(text), bool)
    for i in range(len(text) - length + 1):
        if text[i : i + length] in seen:
            copied[i : i + length] = True
    return copied


def lanes(numbers, num_lanes, length):
    """Cut a text so that row j of a batch goes on, in the next one, where it ended.

    Args:
        numbers: int array (symbols,).
        num_lanes: int, rows of a batch: places in which the text is read at once.
        length: int, symbols in a window.

    Returns:
        Two int arrays (windows, length), inputs and the symbols that follow; windows
        is a multiple of num_lanes, and what does not fill a round is left out.

    Raises:
        ValueError: if the text is shorter than one round and a symbol.

    Used in chapters/language/04_rnn and 06_attention.
    """
    rounds = (len(numbers) - 1) // (num_lanes * length)
    if not rounds:
        needed = num_lanes * length + 1
        raise ValueError(
            f"{num_lanes} lanes of {length} need {needed} symbols, got {len(numbers)}"
        )
    end = num_lanes * rounds * length
    shaped = [numbers[i : i + end].reshape(num_lanes, rounds, length) for i in (0, 1)]
    return [part.swapaxes(0, 1).reshape(-1, length) for part in shaped]


def witten_bell(known, asked, order, num_symbols):
    """Probability of each symbol of a text by counts of the symbols before it.

    Args:
        known: int array, the text that is counted, more than order symbols.
        asked: int array, the text that follows it.
        order: int >= 0, symbols of history.
        num_symbols: int, numbers of both texts are below it.

    Returns:
        float array and int array (len(asked),): the probability of each symbol, and
        how often its history of ``order`` symbols was followed by one in ``known``.

    Raises:
        ValueError: if ``known`` is too short, a number is out of range, or a piece of
            order + 1 symbols has no number below 2^63.

    Source: witten1991. Taught in chapters/language/04_rnn.
    """
    if len(known) <= order:
        raise ValueError(f"known must have over {order} symbols, got {len(known)}")
    if int(num_symbols) ** (order + 1) >= 2**63:
        raise ValueError(f"order {order} is too long for {num_symbols} symbols")
    for numbers in (known, asked):
        if np.any(np.less(numbers, 0) | np.greater_equal(numbers, num_symbols)):
            found = f"{np.min(numbers)} to {np.max(numbers)}"
            raise ValueError(f"numbers must be 0 to {num_symbols - 1}, got {found}")
    p = np.full(len(asked), 1 / num_symbols)
    for k in range(order + 1):
        seen = _pieces(known, k + 1, num_symbols)
        now = _pieces(np.append(known[len(known) - k :], asked), k + 1, num_symbols)
        n, history = _count_in(seen, now), now // num_symbols
        n_history = _count_in(seen // num_symbols, history)
        kinds = _count_in(np.unique(seen) // num_symbols, history)
        p = np.where(n_history, (n + kinds * p) / np.maximum(n_history + kinds, 1), p)
    return p, n_history


def _pieces(numbers, length, num_symbols):
    powers = num_symbols ** np.arange(length)[::-1]
    return np.lib.stride_tricks.sliding_window_view(numbers, length) @ powers


def _count_in(known, asked):
    values, counts = np.unique(known, return_counts=True)
    place = np.minimum(np.searchsorted(values, asked), len(values) - 1)
    return np.where(values[place] == asked, counts[place], 0)


def sampling_probabilities(logits, temperature=1.0, top_k=None, top_p=None):
    """Turn logits into the probabilities that the next symbol is drawn with.

    First the temperature; then the k most probable symbols stay; then the fewest of
    these that make up top_p of the rest. Of equal ones the first stay.

    Args:
        logits: array (..., symbols) of floats; -inf forbids a symbol.
        temperature: float > 0; below 1 it sharpens, above 1 it flattens.
        top_k: int >= 1, or None for all.
        top_p: float in (0, 1], or None for all.

    Returns:
        float64 array of the same shape, which sums to 1 along the last axis.

    Raises:
        ValueError: if an argument is out of its range.

    Source: holtzman2020 for top_p. Taught in chapters/language/04_rnn.
    """
    logits = np.asarray(logits, dtype=float)
    _check_sampling(logits, temperature, top_k, top_p)
    order = np.argsort(-logits, axis=-1, kind="stable")
    ranked = np.take_along_axis(logits, order, axis=-1)
    ranked = np.exp((ranked - ranked[..., :1]) / temperature)
    if top_k is not None:
        ranked[..., top_k:] = 0.0
    ranked /= ranked.sum(axis=-1, keepdims=True)
    if top_p is not None:
        before = ranked.cumsum(axis=-1) - ranked  # of those that are more probable
        ranked[(before > 0) & (before >= top_p - 1e-12)] = 0.0  # 1e-12: rounding
        ranked /= ranked.sum(axis=-1, keepdims=True)
    probabilities = np.empty_like(ranked)
    np.put_along_axis(probabilities, order, ranked, axis=-1)
    return probabilities


def _check_sampling(logits, temperature, top_k, top_p):
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k must be at least 1, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}")
    if not (logits.ndim and logits.size and np.isfinite(logits.max(axis=-1)).all()):
        raise ValueError(f"logits need a finite maximum each, got {logits}")
