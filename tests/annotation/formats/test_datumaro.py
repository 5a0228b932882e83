"""What the Datumaro library reads of ours, and what we read of its own."""

import subprocess

import numpy as np
import pytest

from annotation.formats import detect
from config.environment import ROOT

# Its environment is there where Label Studio's is: by `make test`.
pytestmark = pytest.mark.acceptance
DATUMARO = ROOT / ".burnish" / "datumaro-venv" / "bin" / "python"
# Reads the folder ours, leaves what it sees in seen.npz (names of classes by pixel), and writes it again to again/.
PROGRAM = """
import sys
import datumaro, numpy
_, kind, ours = sys.argv
found = datumaro.Dataset.import_from(ours, kind)
# Its outlines of masks with holes lose pixels, its run lengths do not.
found.export("again", kind, save_media=True, **({"segmentation_mode": "mask"} if "coco" in kind else {}))
names = [one.name for one in found.categories()[datumaro.AnnotationType.label]]
found.transform("polygons_to_masks")
seen = {}
for item in found:
    mask = seen[item.id.rpartition("/")[2]] = numpy.full(item.media.size, "background", dtype="U20")
    masks = (one for one in item.annotations if one.type == datumaro.AnnotationType.mask)
    for one in sorted(masks, key=lambda one: one.z_order):
        mask[numpy.asarray(one.image, bool)] = names[one.label]
numpy.savez("seen.npz", **seen)
"""


@pytest.mark.parametrize(
    ("name", "kind"), [("datumaro", "datumaro"), ("coco", "coco_instances"), ("voc", "voc_segmentation")]
)
def test_the_library_reads_our_masks_pixel_for_pixel_and_we_read_its_own(tmp_path, written, masks, read, name, kind):
    folder, _ = written(name)

    ran = subprocess.run(
        [DATUMARO, "-c", PROGRAM, kind, folder], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    called = np.array(["background", *(one.name for one in detect(folder).classes)])
    assert (np.load(tmp_path / "seen.npz")["a"] == called[masks["a.png"]]).all()
    again = next(one for one in detect(tmp_path / "again").images if one.name.endswith("a.png"))
    assert (again.mask(3, masks["a.png"].shape[::-1]) == masks["a.png"]).all()
