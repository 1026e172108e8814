from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("torch") is None:
    collect_ignore_glob = [
        "test_augment.py",
        "test_objective.py",
        "test_loop.py",
        "test_finetune.py",
        "test_packs.py",
    ]

TINY = "test_efficientnet"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Give settings of a network of 100,000 parameters that starts from a file."""
    torch = pytest.importorskip("torch")
    timm = pytest.importorskip("timm")
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(5)
    body = timm.create_model(TINY, pretrained=False, num_classes=0)
    file: Path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    safetensors.save_file(body.state_dict(), file)
    return {"backbone": TINY, "weights": str(file)}
