"""Networks that are part of the package, so that a plain install can call and can learn."""

from pathlib import Path


def blood() -> Path:
    """Give the folder of the bundle that calls peripheral blood cells."""
    return Path(__file__).parent / "blood"


def imagenet() -> Path:
    """Give the folder of the ImageNet backbone that any image can start from."""
    return Path(__file__).parent / "imagenet"


def smear() -> Path:
    """Give the folder of the detector of white cells, red cells and platelets in blood smears."""
    return Path(__file__).parent / "smear"
