"""Whether a run would do again what an earlier one did."""

from __future__ import annotations

from typing import Any

from compressctl.container.signature import PACKED
from compressctl.errors import CompressctlError
from compressctl.model.external import model_files
from compressctl.model.read import sha256
from compressctl.pipeline.inputs import input_hashes, model_hash
from compressctl.pipeline.paths import report_path
from compressctl.recipe.model import Recipe
from compressctl.report.read import read_report
from compressctl.report.schema import SCHEMA_VERSION, Report
from compressctl.versions import versions


def earlier_report(recipe: Recipe) -> Report | None:
    """Return the report of an earlier run of this recipe where all that it read, and its output, are as it says.

    None where anything differs, is missing or cannot be read: then there is work to do, and who does it says why it
    cannot.
    """
    try:
        report = read_report(report_path(recipe))
        same = (
            _content(report.recipe) == _content(recipe.model_dump(mode="json"))
            and report.versions == versions()
            and report.schema_version == SCHEMA_VERSION
            and report.output_sha256 == _output_hash(recipe)
            and report.input_sha256 == model_hash(recipe.model)
            and report.inputs_sha256 == input_hashes(recipe)
        )
    except (CompressctlError, OSError):
        return None
    return report if same else None


def _content(recipe: dict[str, Any]) -> dict[str, Any]:
    idle = Recipe.deciding("nothing")
    return {key: value for key, value in recipe.items() if key not in idle}


def _output_hash(recipe: Recipe) -> str:
    packed = recipe.output.suffix == PACKED
    return sha256([recipe.output] if packed else model_files(recipe.output))
