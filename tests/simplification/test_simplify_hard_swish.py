"""HardSwish is written out as its definition."""

from rewriting import rewrite


def test_hard_swish() -> None:
    result = rewrite("(float[N,4,8,8] x) => (float[N,4,8,8] y) { y = HardSwish(x) }")
    assert result.ops == {"HardSigmoid": 1, "Mul": 1}
