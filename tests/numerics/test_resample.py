import numpy as np
import pytest
from scipy.signal import resample_poly

from compressctl.numerics.resample import resample


@pytest.mark.parametrize(("rate", "to"), [(44100, 16000), (8000, 16000), (16000, 8000), (3, 2), (7, 7)])
def test_it_is_that_of_scipy(rate, to):
    rng = np.random.default_rng(0)
    for shape in ((1,), (777,), (501, 2)):
        signal = rng.standard_normal(shape)
        np.testing.assert_allclose(resample(signal, rate, to), resample_poly(signal, to, rate), atol=1e-9)
