"""What numpy arrays hold, as types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
AnyFloats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
Integers32 = NDArray[np.int32]
Integers8 = NDArray[np.int8]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]
