import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

from catalog.importing import create_import, run_import

MIB = 2**20


def _resident():
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_two_thousand_files_are_imported_without_holding_them(project, tmp_path):
    rng = np.random.default_rng(0)
    for number in range(50):
        noise = Picture.fromarray(rng.integers(0, 256, (192, 192), np.uint8))
        noise.save(tmp_path / f"{number}.png", compress_level=0)
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(2000):
        (folder / f"{number:04d}.png").hardlink_to(tmp_path / f"{number % 50}.png")
    all_files = sum(path.stat().st_size for path in folder.iterdir())
    one = create_import(project, folder)
    held = []

    run_import(one.pk, report=lambda _: held.append(_resident()))

    one.refresh_from_db()
    assert one.imported == 2000
    assert all_files > 70 * MIB
    assert len(held) > 5
    assert max(held) - held[0] < 40 * MIB  # measured: 22 to 31, 12 of them what is known of each image
