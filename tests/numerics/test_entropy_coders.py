"""Range ANS and Huffman's codes: what goes in comes out, in as few bytes as theory says."""

import heapq
from contextlib import suppress
from functools import cache
from itertools import count

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from compressctl.numerics import huffman, rans
from compressctl.numerics.bits import BitReader, BitWriter, get_levels, put_levels
from compressctl.numerics.entropy import entropy_bits, histogram
from tests.container.ccz_decoder import unrans

CODERS = pytest.mark.parametrize("coder", [rans, huffman], ids=["rans", "huffman"])


@st.composite
def byte_arrays(draw: st.DrawFn) -> np.ndarray:
    """Bytes of any alphabet and skew, and of sizes that fill lanes or do not."""
    size = draw(st.one_of(st.integers(1, 40), st.integers(1, 40_000)))
    symbols = draw(st.integers(1, 256))
    skew = draw(st.sampled_from([0, 1, 4, 30]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    alphabet = rng.permutation(256)[:symbols].astype(np.uint8)
    weights = np.arange(1, symbols + 1, dtype=float) ** -skew
    return rng.choice(alphabet, size, p=weights / weights.sum())


@CODERS
@settings(max_examples=40, deadline=None)
@given(data=byte_arrays())
def test_round_trip(coder, data):
    plan = coder.plan(histogram(data))
    coded = coder.encode(data, plan)
    assert np.array_equal(coder.decode(coded, data.size), data)
    assert abs(len(coded) - plan.bytes) <= 0.02 * plan.bytes + plan.lanes + 8


@CODERS
@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=300))
def test_round_trip_of_short_data(coder, data):
    array = np.frombuffer(data, np.uint8)
    assert coder.decode(coder.encode(array, coder.plan(histogram(array))), array.size).tobytes() == data


STEPS = rans._LANE_STEPS


@pytest.mark.long
@settings(max_examples=30, deadline=None)
@given(
    lanes=st.integers(1, 6),
    beside=st.sampled_from([-2, -1, 0, 1, 2]),
    others=st.integers(0, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_round_trip_of_sparse_data_at_each_number_of_lanes(lanes, beside, others, seed):
    """Sizes at which another lane begins, or the last row of symbols is not full, or is a single one."""
    rng = np.random.default_rng(seed)
    data = np.full(lanes * STEPS + beside, rng.integers(256), np.uint8)
    data[rng.integers(0, data.size, others)] = rng.integers(0, 256, others)
    plan = rans.plan(histogram(data))
    assert plan.lanes == (max(1, data.size // STEPS) if np.ptp(data) else 1)
    assert np.array_equal(rans.decode(rans.encode(data, plan), data.size), data)


def test_sparse_data_have_many_lanes():
    """Of a million symbols, so few that few bytes hold them; the bytes still are nearly as few."""
    rng = np.random.default_rng(4)
    data = np.zeros(1 << 20, np.uint8)
    data[rng.integers(0, data.size, 100)] = rng.integers(1, 9, 100)
    counts = histogram(data)
    coded = rans.encode(data, rans.plan(counts))
    lanes = rans._read_header(BitReader(coded))[1]
    assert lanes == 64 and data.size / lanes <= STEPS
    assert len(coded) < entropy_bits(counts) / 8 + 4 * lanes + 60
    assert np.array_equal(rans.decode(coded, data.size), data)


def test_one_symbol_alone_takes_a_state_however_often_it_occurs():
    data = np.full(1 << 24, 7, np.uint8)
    coded = rans.encode(data, rans.plan(histogram(data)))
    assert len(coded) < 16 and np.array_equal(rans.decode(coded, data.size), data)
    with pytest.raises(ValueError, match="do not end as they began"):
        rans.decode(coded[:-1] + b"\x01", data.size)


def test_what_few_lanes_coded_is_still_read():
    """Files of former versions: one lane for 512 coded bytes, whatever the number of symbols."""
    data = np.zeros(5 * STEPS, np.uint8)
    data[:: STEPS // 3] = 7
    plan = rans.plan(histogram(data))
    for lanes in (1, 3):
        coded = rans.encode(data, plan._replace(lanes=lanes))
        assert np.array_equal(rans.decode(coded, data.size), data)
        assert unrans(coded, data.size) == data.tobytes()


def laplace(bits: float, size: int, rng: np.random.Generator) -> np.ndarray:
    """Independent draws from a discrete Laplace distribution over bytes of that entropy."""
    levels = np.abs(np.arange(256) - 128)
    low, high = 1e-3, 50.0
    for _ in range(60):
        rate = (low + high) / 2
        weights = np.exp(-rate * levels)
        low, high = (rate, high) if scipy.stats.entropy(weights, base=2) > bits else (low, rate)
    return rng.choice(256, size, p=weights / weights.sum()).astype(np.uint8)


@pytest.mark.parametrize("bits", [0.1, 0.5, 1.0, 2.5, 4.0, 6.0, 7.9])
def test_rans_is_within_two_percent_of_the_entropy(bits):
    data = laplace(bits, 1 << 20, np.random.default_rng(1))
    counts = histogram(data)
    entropy = entropy_bits(counts) / 8
    assert entropy == pytest.approx(bits / 8 * data.size, rel=0.02)
    coded = rans.encode(data, rans.plan(counts))
    assert entropy < len(coded) < 1.02 * entropy


@pytest.mark.parametrize("size", [20_000, 266_200])
def test_sparse_indices_of_a_small_network_are_within_two_percent_and_their_table(size):
    rng = np.random.default_rng(2)
    data = np.where(rng.random(size) < 0.95, 0, rng.integers(1, 33, size)).astype(np.uint8)
    counts = histogram(data)
    plan = rans.plan(counts)
    header = len(rans._header(plan.table, plan.lanes))
    assert header < 33 * 1.5
    assert len(rans.encode(data, plan)) - header < 1.02 * entropy_bits(counts) / 8


def test_entropy_is_that_of_scipy():
    counts = np.random.default_rng(0).integers(0, 100, 256)
    counts[7] = 0
    assert entropy_bits(counts) == pytest.approx(scipy.stats.entropy(counts, base=2) * counts.sum(), rel=1e-12)
    assert entropy_bits(np.array([5])) == 0 and entropy_bits(np.zeros(4)) == 0


@settings(max_examples=100, deadline=None)
@given(
    counts=st.lists(st.integers(0, 10**7), min_size=256, max_size=256).filter(any), precision=st.sampled_from([9, 15])
)
def test_frequencies_fill_the_table(counts, precision):
    counts = np.array(counts)
    frequencies = rans.quantized(counts, precision)
    assert frequencies.sum() == 1 << precision and ((frequencies > 0) == (counts > 0)).all()


def textbook_bits(counts: list[int]) -> int:
    """Huffman 1952, with a heap: the weights of all inner nodes add up to the length of the coded text."""
    order = count()
    heap = [(weight, next(order)) for weight in counts if weight]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        weight = heapq.heappop(heap)[0] + heapq.heappop(heap)[0]
        total += weight
        heapq.heappush(heap, (weight, next(order)))
    return total


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(0, 300), min_size=2, max_size=256).filter(lambda c: sum(map(bool, c)) > 1))
def test_lengths_are_those_of_the_textbook(counts):
    lengths = huffman.code_lengths(np.array(counts), longest=60)
    assert (lengths * counts).sum() == textbook_bits(counts)
    assert (2.0 ** -lengths[lengths > 0]).sum() == 1  # Kraft: a full code


@settings(max_examples=50, deadline=None)
@given(weights=st.lists(st.integers(0, 40), min_size=17, max_size=256), longest=st.integers(9, 15))
def test_limited_lengths_are_full_codes_and_no_worse_than_flat_ones(weights, longest):
    counts = 2 ** np.array(weights, np.int64)
    lengths = huffman.code_lengths(counts, longest)
    assert 1 <= lengths.min() <= lengths.max() <= longest
    assert (2.0**-lengths).sum() == 1
    flat = int(np.ceil(np.log2(counts.size)))
    assert (lengths * counts).sum() <= flat * counts.sum()


def test_limited_lengths_are_the_best_ones():
    """Against all full codes of four symbols of at most three and two bits."""
    counts = np.array([1, 1, 2, 4])
    assert (huffman.code_lengths(counts, 3) * counts).sum() == 1 * 3 + 1 * 3 + 2 * 2 + 4 * 1
    assert huffman.code_lengths(counts, 2).tolist() == [2, 2, 2, 2]
    with pytest.raises(ValueError, match="4 symbols cannot have codes of at most 1 bits"):
        huffman.code_lengths(counts, 1)


def test_canonical_codes_are_those_of_the_deflate_specification():
    lengths = np.array([3, 3, 3, 3, 3, 2, 4, 4])  # RFC 1951, section 3.2.2
    assert huffman._codes(lengths).tolist() == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]


@CODERS
def test_nothing_cannot_be_coded(coder):
    with pytest.raises(ValueError):
        coder.plan(np.zeros(256, np.int64))


@cache
def coded_laplace(coder) -> bytes:
    data = laplace(3, 3000, np.random.default_rng(3))
    return coder.encode(data, coder.plan(histogram(data)))


@CODERS
@settings(max_examples=80, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.booleans())
def test_damage_is_an_error_or_other_data_of_the_same_size(coder, where, bit, cut):
    coded = bytearray(coded_laplace(coder))
    if cut:
        del coded[int(where * len(coded)) :]
    else:
        coded[int(where * len(coded))] ^= 1 << bit
    with suppress(ValueError):
        assert coder.decode(bytes(coded), 3000).size == 3000


@CODERS
@settings(max_examples=150, deadline=None)
@given(coded=st.binary(max_size=200), size=st.integers(1, 5000))
def test_any_bytes_are_an_error_or_data(coder, coded, size):
    with suppress(ValueError):
        assert coder.decode(coded, size).size == size


@given(levels=st.lists(st.integers(0, 40), min_size=256, max_size=256), after=st.integers(0, 255))
def test_tables_of_small_numbers(levels, after):
    writer = BitWriter()
    put_levels(writer, levels)
    writer.put(after, 8)
    reader = BitReader(writer.to_bytes())
    assert get_levels(reader) == levels and reader.get(8) == after
    assert reader.bytes_read == len(writer.to_bytes())


@pytest.mark.parametrize("value", [1, 2, 3, 4, 255, 256, 10**6])
def test_gamma_takes_as_many_bits_as_elias_says(value):
    writer = BitWriter()
    writer.gamma(value)
    assert len(writer.to_bytes()) == -(-(2 * int(np.log2(value)) + 1) // 8)
    assert BitReader(writer.to_bytes()).gamma() == value
