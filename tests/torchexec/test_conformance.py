"""What the executor computes is what the ONNX specification's own node tests expect."""

import pkgutil
from collections import Counter

import numpy as np
import pytest

try:
    from onnx.backend.test.case import node as cases_package

    MODULES = sorted(
        module.name
        for module in pkgutil.iter_modules(cases_package.__path__)
        if not module.ispkg and module.name[0] != "_"  # a package: operators of another domain
    )
except ImportError:
    MODULES = []


@pytest.mark.skipif(not MODULES, reason="this build of onnx comes without its node tests")
def test_the_suite_is_found():
    assert len(MODULES) > 150


@pytest.mark.parametrize("module", MODULES)
def test_conformance(module, record_property):
    from tests.torchexec.conformance import cases_of, check, reason_to_exclude

    cases = cases_of(module)
    assert cases, "no cases were defined"
    # One case a module is also run as the record of what the executor does.
    recorded = next((case for case in cases if all(isinstance(x, np.ndarray) for x in case.data_sets[0][0])), None)
    excluded, failures = Counter(), []
    for case in cases:
        reason = reason_to_exclude(case)
        try:
            check(case)
            if case is recorded:
                check(case, "trace")
        except Exception as error:  # noqa: BLE001 - every failure is listed below
            if reason is None:
                failures.append(f"{case.name}: {type(error).__name__}: {error}")
            else:
                excluded[reason] += 1
        else:
            if reason is not None:
                failures.append(f"{case.name}: is excluded ({reason}), and passes")
    record_property("conformance", (len(cases) - sum(excluded.values()) - len(failures), dict(excluded), len(failures)))
    assert not failures, "\n".join(failures)
