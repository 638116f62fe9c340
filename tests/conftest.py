from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("cleanshards", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("cleanshards")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real pictures to test with; they are no part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"needs the real pictures at {SHARED_DATA}")
    return SHARED_DATA
