from pathlib import Path

import pytest

from annotation.formats import detect, open_source
from annotation.masks import read_index_mask

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / "shared" / "data" / "neu_seg.zip"


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_file(), reason="needs the published data set")
def test_the_published_data_set_is_read_whole(tmp_path):
    refused = []

    layout = detect(open_source(DATA, tmp_path, refused))
    pairs = list(layout.pairs())

    assert refused == []
    assert (layout.name, len(pairs)) == ("NEU-Seg", 3630 + 840)
    assert pairs[0][0] == "images/test/000001.jpg"
    assert list(layout.strays()) == []
    for _, _, mask in pairs[::100]:
        read_index_mask(mask, 3, (200, 200))
