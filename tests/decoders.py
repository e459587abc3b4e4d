"""Tiny decoders: causal attention over learned positions, with a cache of keys and values as inputs or without."""

from pathlib import Path

import numpy as np

from tests import graphs

WORDS, WIDTH, HEADS, LONGEST = 97, 16, 2, 64
SIZE = WIDTH // HEADS


def weights(layers: int = 2, scale: float = 0.3) -> dict[str, np.ndarray]:
    random = graphs.Random(0)
    found = {"words": random(WORDS, WIDTH), "places": random(LONGEST, WIDTH), "head": scale * random(WIDTH, WORDS)}
    for layer in range(layers):
        found |= {f"{name}{layer}": random(WIDTH, WIDTH) / np.float32(WIDTH**0.5) for name in "qkvo"}
    return found


def decoder(path: Path, *, cache: bool, layers: int = 2, scale: float = 0.3) -> Path:
    """Write input_ids, attention_mask, position_ids[, past_key_values.N.key, …] -> logits[, present.N.key, …].

    The head is called `head`; its weights are multiplied by `scale`, so that the answers are sure.
    """
    arrays = weights(layers, scale) | {
        "split": np.array([0, 0, HEADS, SIZE]),
        "join": np.array([0, 0, WIDTH]),
        "root": np.float32(SIZE**-0.5),
        "never": np.float32(-1e9),
        "one": np.float32(1),
        "last": np.array([2]),
        "end": np.array([3]),
        "middle": np.array([1, 2]),
        "zero": np.array(0),
        "step": np.array(1),
        "only": np.array([0]),
    }
    body = """
        a = Gather(words, input_ids) b = Gather(places, position_ids) h0 = Add(a, b)
        extent = Shape<start = 1>(attention_mask) total = Squeeze(extent) all = Range(zero, total, step)
        begun = Unsqueeze(position_ids, last) later = Greater(all, begun) hidden = Cast<to = 1>(later)
        open_ = Cast<to = 1>(attention_mask) shut = Sub(one, open_) wide = Unsqueeze(shut, step1)
        both = Max(hidden, wide) much = Mul(both, never) barred = Unsqueeze(much, step1)
    """
    arrays["step1"] = np.array([1])
    inputs = ["int64[N, T] input_ids", "int64[N, total] attention_mask", "int64[N, T] position_ids"]
    outputs = [f"float[N, T, {WORDS}] logits"]
    for n in range(layers):
        old, new = (f"past_key_values_{n}_{{}}".format, f"present_{n}_{{}}".format) if cache else (None, None)
        for kind in "qkv":
            made = f"{kind}t{n}" if kind == "q" or not cache else f"{kind}n{n}"
            body += f" {kind}p{n} = MatMul(h{n}, {kind}{n}) {kind}s{n} = Reshape({kind}p{n}, split)"
            body += f" {made} = Transpose<perm = [0, 2, 1, 3]>({kind}s{n})"
            if made.startswith(("kn", "vn")):
                name = "key" if kind == "k" else "value"
                body += f" {new(name)} = Concat<axis = 2>({old(name)}, {made}) {kind}t{n} = Identity({new(name)})"
                inputs.append(f"float[N, {HEADS}, past, {SIZE}] {old(name)}")
                outputs.append(f"float[N, {HEADS}, total, {SIZE}] {new(name)}")
        body += f""" kk{n} = Transpose<perm = [0, 1, 3, 2]>(kt{n}) raw{n} = MatMul(qt{n}, kk{n})
            scaled{n} = Mul(raw{n}, root) seen{n} = Add(scaled{n}, barred) share{n} = Softmax<axis = -1>(seen{n})
            mix{n} = MatMul(share{n}, vt{n}) back{n} = Transpose<perm = [0, 2, 1, 3]>(mix{n})
            flat{n} = Reshape(back{n}, join) proj{n} = MatMul(flat{n}, o{n}) h{n + 1} = Add(h{n}, proj{n})"""
    body += f" norm = LayerNormalization<axis = -1>(h{layers}, gain) logits = MatMul(norm, head)"
    arrays["gain"] = np.ones(WIDTH, np.float32)
    return graphs.save(path, body, arrays, ", ".join(inputs), ", ".join(outputs))


def text(samples: int = 12, length: int = 20) -> np.ndarray:
    """Return token ids [samples, length]."""
    return np.random.default_rng(1).integers(0, WORDS, (samples, length))
