"""The sentence transformer in numpy and 64 bits, independent of the plugin: reads a JSON list of texts on standard input and
prints, for each, a line of JSON with its tokens and its embedding.

Its tokens come from a tokenizer of its own, and must be those of Hugging Face's library.

Usage: reference.py MODEL_DIR
"""

import json
import math
import struct
import sys
import unicodedata
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

LAYERS, HEADS, TOKENS_MAX = 6, 12, 256
MARKS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CHINESE = [(0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F)]
erf = np.vectorize(math.erf, otypes=[np.float64])


def weights(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    found = {}
    for name, entry in json.loads(content[8 : 8 + length]).items():
        if name != "__metadata__" and entry["dtype"] == "F32":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            found[name] = np.frombuffer(content[begin:end], "<f4").reshape(entry["shape"]).astype(np.float64)
    return found


def words(text):
    cleaned = []
    for c in text:
        if c.isspace():
            cleaned.append(" ")
        elif c not in "\0\ufffd" and unicodedata.category(c) not in ("Cc", "Cf", "Co"):
            chinese = any(low <= ord(c) <= high for low, high in CHINESE)
            cleaned.append(f" {c} " if chinese else c)
    plain = (c for c in unicodedata.normalize("NFD", "".join(cleaned)) if unicodedata.category(c) != "Mn")
    word = ""
    for c in "".join(c.lower() for c in plain):
        punctuation = unicodedata.category(c).startswith("P") or (c.isascii() and c.isprintable() and not c.isalnum() and c != " ")
        if c.isspace() or punctuation:
            if word:
                yield word
            word = ""
            if punctuation:
                yield c
        else:
            word += c
    if word:
        yield word


def pieces(word, vocabulary):
    if len(word) > 100:
        return ["[UNK]"]
    found, begin = [], 0
    while begin < len(word):
        for end in range(len(word), begin, -1):
            piece = ("##" if begin else "") + word[begin:end]
            if piece in vocabulary:
                found.append(piece)
                begin = end
                break
        else:
            return ["[UNK]"]
    return found


def split_at_marks(text):
    while text:
        places = [(text.find(mark), mark) for mark in MARKS if mark in text]
        if not places:
            yield text, None
            return
        at, mark = min(places)
        yield text[:at], mark
        text = text[at + len(mark) :]


def tokens(text, vocabulary):
    found = []
    for plain, mark in split_at_marks(text):
        for word in words(plain):
            found += [vocabulary[piece] for piece in pieces(word, vocabulary)]
        if mark:
            found.append(vocabulary[mark])
    return [vocabulary["[CLS]"]] + found[: TOKENS_MAX - 2] + [vocabulary["[SEP]"]]


def norm(x, w, name):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"] + w[name + ".bias"]


def linear(x, w, name):
    return x @ w[name + ".weight"].T + w[name + ".bias"]


def softmax(x):
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def embed(ids, w):
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][: len(ids)] + w["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, w, "embeddings.LayerNorm")
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}."
        query, key, value = (
            linear(x, w, layer + "attention.self." + part).reshape(len(ids), HEADS, -1).transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        seen = softmax(query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])) @ value
        seen = seen.transpose(1, 0, 2).reshape(len(ids), -1)
        x = norm(linear(seen, w, layer + "attention.output.dense") + x, w, layer + "attention.output.LayerNorm")
        inner = linear(x, w, layer + "intermediate.dense")
        inner = inner * 0.5 * (1 + erf(inner / math.sqrt(2)))
        x = norm(linear(inner, w, layer + "output.dense") + x, w, layer + "output.LayerNorm")
    mean = x.mean(0)
    return mean / np.linalg.norm(mean)


def main():
    model = Path(sys.argv[1])
    vocabulary = {line: n for n, line in enumerate((model / "vocab.txt").read_text("utf-8").split("\n"))}
    library = Tokenizer.from_file(str(model / "tokenizer.json"))
    library.no_padding()
    library.enable_truncation(TOKENS_MAX)
    w = weights(model / "model.safetensors")
    for text in json.loads(sys.stdin.buffer.read()):
        ids = tokens(text, vocabulary)
        theirs = library.encode(text).ids
        assert ids == theirs, f"the library's tokens of {text!r} differ: {theirs} instead of {ids}"
        print(json.dumps({"tokens": ids, "embedding": embed(ids, w).tolist()}))


if __name__ == "__main__":
    main()
