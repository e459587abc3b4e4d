"""Options of passes that a recipe may not give, alone or together."""

import pytest

from compressctl.errors import RecipeError
from compressctl.recipe.load import build_recipe

REFUSED = {
    "clip": [
        ({}, "give one of threshold, percentile and sigma"),
        ({"threshold": 1, "sigma": 2}, "give one of threshold, percentile and sigma"),
        ({"threshold": 0}, "greater than 0"),
        ({"threshold": float("nan")}, "greater than 0|finite"),
        ({"percentile": 0}, "greater than 0"),
        ({"percentile": 100.1}, "less than or equal to 100"),
        ({"sigma": -1}, "greater than 0"),
        ({"threshold": 1, "value": -1}, "greater than or equal to 0"),
    ],
    "low_rank": [
        ({"energy": 0.9, "ratio": 0.5}, "exclude each other"),
        ({"energy": 0}, "greater than 0"),
        ({"energy": 1.5}, "less than or equal to 1"),
        ({"ratio": 1}, "less than 1"),
        ({"ratio": float("nan")}, "not nan"),
        ({"method": "cp"}, "svd"),
    ],
    "sparsify": [
        ({}, "one of ratio, threshold and nm"),
        ({"ratio": 0.5, "nm": "2:4"}, "not ratio and nm"),
        ({"ratio": 1.0}, "less than 1"),
        ({"nm": "4:4"}, "0 < N < M"),
        ({"nm": "2/4"}, "give N:M"),
        ({"threshold": 0.1, "importance": "taylor"}, "importance cannot be taylor"),
        ({"ratio": 0.5, "importance": "obs", "reconstruct": False}, "reconstruct cannot be false"),
    ],
    "prune": [
        ({}, "give one of ratio, target_macs, target_size, target_latency"),
        ({"ratio": 0.5, "target_macs": 0.5}, "not ratio and target_macs"),
        ({"ratio": 0}, "greater than 0"),
        ({"ratio": 1}, "less than 1"),
        ({"target_latency": 1.5}, "less than 1"),
        ({"ratio": 0.5, "structure": ["block", "head"]}, "block goes alone"),
        ({"target_macs": 0.5, "structure": ["block"]}, "block takes a ratio alone, not target_macs"),
        ({"ratio": "auto", "structure": ["block"]}, "block takes a ratio alone, not auto"),
        ({"ratio": 0.5, "structure": ["block"], "importance": "l2"}, "not importance"),
        ({"ratio": 0.5, "structure": []}, "at least 1"),
    ],
    "cluster": [
        ({"clusters": 1}, "greater than or equal to 2"),
        ({"clusters": 257}, "less than or equal to 256"),
        ({"vector": 3}, "1, 2, 4 or 8"),
        ({"reconstruct": True, "importance": "hessian"}, "importance cannot be hessian"),
    ],
    "distill": [
        ({"student": "from-teacher:width=0"}, "between 0 and 1"),
        ({"student": "from-teacher:width=0.5,width=0.5"}, "takes depth=SHARE, width=SHARE"),
        ({"student": "from-teacher:height=0.5"}, "takes depth=SHARE, width=SHARE"),
        ({"student": "from-teacher"}, "takes depth=SHARE"),
        ({"student": "from-teacher:depth=half"}, "takes depth=SHARE"),
        ({"student": "from-teacher:depth=1"}, "between 0 and 1"),
        ({"student": "s.onnx", "features": ["=a"]}, "is not STUDENT_NODE=TEACHER_NODE"),
        ({"student": "s.onnx", "losses": ["kl"], "alpha": 0.5}, "alpha cannot be given beside"),
        ({"student": "s.onnx", "losses": ["kl"], "attention": ["a"]}, "attention cannot be given beside"),
        ({"student": "s.onnx", "alpha": 1.5}, "less than or equal to 1"),
        ({}, "student"),
    ],
}


@pytest.mark.parametrize(("kind", "options", "said"), [(kind, *row) for kind, rows in REFUSED.items() for row in rows])
def test_options_that_make_no_sense(kind, options, said):
    content = {"model": "a.onnx", "output": "b.onnx", "passes": [{"type": kind, **options}]}
    with pytest.raises(RecipeError, match=said):
        build_recipe(content, "recipe.yaml")
