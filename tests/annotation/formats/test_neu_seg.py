from pathlib import Path

import pytest

from annotation.formats import detect, open_source

ROOT = Path(__file__).resolve().parents[3]
DATA = ROOT.parent / "shared" / "data" / "neu_seg.zip"


@pytest.mark.shared
@pytest.mark.skipif(not DATA.is_file(), reason="needs the published data set")
def test_the_published_data_set_is_read_whole(tmp_path):
    refused = []

    dataset = detect(open_source(DATA, tmp_path, refused))

    assert refused == []
    assert (dataset.format, len(dataset.images)) == ("NEU-Seg", 3630 + 840)
    assert dataset.images[0].name == "images/test/000001.jpg"
    assert dataset.strays == ()
    for one in dataset.images[::100]:
        one.mask(3, (200, 200))
