"""The notation of inputs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compressctl.errors import UsageError
from compressctl.tensorspec import TensorSpec, parse_tensor_spec, with_given


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("image:1x3x32x32", TensorSpec("image", "float32", (1, 3, 32, 32))),
        ("ids:1x128:int64", TensorSpec("ids", "int64", (1, 128))),
        ("input:0:1x224x224x3", TensorSpec("input:0", "float32", (1, 224, 224, 3))),
        ("x:?x8", TensorSpec("x", "float32", (None, 8))),
        ("ids:batch,seq:int64", TensorSpec("ids", "int64", ("batch", "seq"))),
        ("x:7:uint8", TensorSpec("x", "uint8", (7,))),
        ("s::bool", TensorSpec("s", "bool", ())),
    ],
)
def test_notation(text, expected):
    assert parse_tensor_spec(text) == expected


@pytest.mark.parametrize("text", ["", "x", "x:0x3", "x:1x3:float12", "x:1x-3", "x:a-b", "x:1xx3", ":1"])
def test_refusals(text):
    with pytest.raises(UsageError) as caught:
        parse_tensor_spec(text)
    assert caught.value.hint


def test_given_sizes_leave_the_samples_open():
    own = [TensorSpec("x", "float32", ("batch", 3, None, "w")), TensorSpec("z", "int64", (4, "n"))]
    given_ = {"x": TensorSpec("x", "float32", (1, 3, 32, 48)), "z": TensorSpec("z", "int64", (4, 7))}
    assert list(with_given(own, given_)) == [
        TensorSpec("x", "float32", ("batch", 3, 32, 48)),
        TensorSpec("z", "int64", (4, 7)),
    ]
    for misfit in ((1, 4, 32, 48), (1, 3, 32)):
        with pytest.raises(UsageError, match="does not fit"):
            with_given(own, {"x": TensorSpec("x", "float32", misfit)})


@given(st.text())
def test_any_text_is_read_or_refused(text):
    try:
        parse_tensor_spec(text)
    except UsageError as error:
        assert "--input" in str(error)


@given(
    st.text("abc:_0", min_size=1).filter(lambda name: name.strip() == name),
    st.lists(st.integers(1, 9), min_size=2, max_size=4),
)
def test_round_trip(name, dims):
    spec = TensorSpec(name, "int64", tuple(dims))
    assert parse_tensor_spec(str(spec)) == spec
