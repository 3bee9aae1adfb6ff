"""The compiled kernel, once for all tests that need it, in this process or in another."""

from __future__ import annotations

import pytest

from edge.rules.kernel import Kernel, compile_kernel


@pytest.fixture(scope="session")
def compiled() -> Kernel:
    """Compiling takes a minute or two where the cache has none for these sources."""
    kernel = compile_kernel()
    assert kernel.compiled, "compilation is switched off"
    return kernel
