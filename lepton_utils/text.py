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
