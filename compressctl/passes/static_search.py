"""What a search may try of static quantization, whichever pass does it."""

from __future__ import annotations

from typing import Any, get_args

from compressctl.passes.space import Draw, Params, PassSpace
from compressctl.quantization import schemes

STATIC = tuple(scheme.name for scheme in schemes.STATIC if scheme.searched)
NARROW = tuple(name for name in STATIC if schemes.SCHEMES[name].narrow)


class StaticSpace(PassSpace):
    """The parameters `calibration_method` and `first_last`."""

    ladders = (NARROW,)

    def draw(self, draw: Draw) -> None:
        if draw.format.name in STATIC:
            draw.choice("calibration_method", ("percentile", "mse", "minmax"))
        if draw.format.name in NARROW:
            draw.choice("first_last", get_args(schemes.FirstLast))


def static_options(params: Params) -> dict[str, Any]:
    """Return the options that passes share, as far as they were drawn for the format."""
    return {name: params[name] for name in ("first_last", "calibration_method") if name in params}
