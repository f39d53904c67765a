"""Where tests find the real data, which are never part of the repository."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data():
    """A function: path of a real data file by its name below the data folder; skips the test where it is absent."""
    folder = Path(os.environ.get("LINKS_DATA") or Path(__file__).parents[2].parent / "shared" / "data")

    def path(name: str) -> Path:
        if not (folder / name).is_file():
            pytest.skip(f"REAL DATA MISSING: {folder / name} (set LINKS_DATA to the folder that holds it)")
        return folder / name

    return path
