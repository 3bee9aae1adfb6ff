"""The compiled kernel, once for all tests of the rules."""

from __future__ import annotations

import pytest

from edge.rules.kernel import Kernel, compile_kernel


@pytest.fixture(scope="session")
def compiled() -> Kernel:
    kernel = compile_kernel()
    assert kernel.compiled, "compilation is switched off"
    return kernel
