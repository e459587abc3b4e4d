"""Packing against arithmetic written out, and the sizes that information theory allows."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compressctl.numerics.packing import pack, packed_bytes, planes


@given(st.integers(2, 256), st.data())
def test_what_is_packed_unpacks_to_the_same(levels, data):
    codes = data.draw(hnp.arrays(np.uint8, st.integers(0, 100), elements=st.integers(0, levels - 1)))
    packed = pack(codes, levels)
    unpacked = np.zeros(codes.size, np.int64)
    for plane, part in zip(planes(levels), packed, strict=True):
        digits = [byte // plane.base**i % plane.base for byte in part.tolist() for i in range(plane.digits)]
        unpacked += plane.unit * np.array(digits, np.int64)[: codes.size]
    np.testing.assert_array_equal(unpacked, codes)
    assert sum(part.nbytes for part in packed) == packed_bytes(codes.size, levels)


def test_five_digits_of_base_three_share_a_byte():
    (packed,) = pack(np.array([2, 0, 1, 0, 2, 1]), 3)
    assert packed.tolist() == [2 + 9 + 2 * 81, 1]


def test_three_bits_are_a_plane_of_one_and_a_plane_of_two():
    low, high = pack(np.array([5, 2, 7, 0, 1]), 8)
    assert low.tolist() == [0b10101]
    assert high.tolist() == [2 + (1 << 2) + (3 << 4), 0]


@pytest.mark.parametrize("levels", range(2, 257))
def test_a_weight_takes_no_more_than_its_bits_rounded_up(levels):
    bits = packed_bytes(8 * 840, levels) / 840
    assert math.log2(levels) <= bits <= math.ceil(math.log2(levels))
    assert sum(plane.unit * (plane.base - 1) for plane in planes(levels)) >= levels - 1


@pytest.mark.parametrize(("codes", "levels"), [([3], 3), ([0], 1), ([0], 257)])
def test_codes_beyond_the_levels_are_refused(codes, levels):
    with pytest.raises(ValueError, match=r"levels"):
        pack(np.array(codes), levels)
