"""What some tests need of the machine or of torch; the others run everywhere."""

from __future__ import annotations

import pytest
import torch

from fxfarm._torch import compat

forks = pytest.mark.skipif(
    torch.cuda.is_available(), reason="torch neither traces nor trains in a fork of a process with a GPU"
)
"""The test's child does either. CUDA_VISIBLE_DEVICES= has it run where there is a GPU, too."""

seam = pytest.mark.skipif(not compat.has_seam(), reason="fxfarm.install() refuses this version of torch")
"""The test installs the farm in Inductor."""
