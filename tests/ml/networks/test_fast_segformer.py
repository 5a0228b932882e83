import pytest
import torch
from torch.testing import assert_close

from ml.networks import build
from ml.networks.efficientformer import efficientformer
from ml.networks.encoders import timm_encoder
from ml.spec import NetworkSpec


def test_at_224_pixels_the_encoder_says_what_timms_says():
    torch.manual_seed(0)
    theirs = timm_encoder("efficientformerv2_s0", channels=3).eval()
    for key, one in theirs.named_parameters():  # so that they matter: they start as zeros, and nearly so
        if "attention_biases" in key or key.endswith(".gamma"):
            torch.nn.init.normal_(one)
    ours = efficientformer("efficientformerv2_s0", channels=3).eval()

    ours.load_state_dict(theirs.state_dict(), strict=True)

    pictures = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        for mine, reference in zip(ours(pictures), theirs(pictures), strict=True):
            assert_close(mine, reference)


def test_at_any_other_size_timms_fails_and_ours_goes_on():
    pictures = torch.rand(1, 3, 96, 64)

    with torch.no_grad():
        *_, deepest = efficientformer("efficientformerv2_s0", channels=3).eval()(pictures)
    with pytest.raises(RuntimeError):
        timm_encoder("efficientformerv2_s0", channels=3).eval()(pictures)

    assert deepest.shape == (1, 176, 3, 2)


def test_the_maps_of_student_and_teacher_are_seven_pairs_of_the_published_channels():
    pictures = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        student, teacher = (
            build(NetworkSpec(name, channels=3), classes=4).eval().outputs(pictures).features
            for name in ("fast_segformer_p", "swin_attention_unet")
        )

    assert [one.shape[1] for one in student] == [64, 128, 320, 512, 512, 512, 32]
    assert [one.shape[1] for one in teacher] == [96, 192, 384, 768, 1024, 256, 64]
    assert [one.shape[2:] for one in student] == [one.shape[2:] for one in teacher]


def test_maps_of_a_picture_that_was_padded_show_the_picture_alone():
    with torch.no_grad():
        said = build(NetworkSpec("fast_segformer_e", channels=3), classes=4).eval().outputs(torch.rand(1, 3, 40, 64))

    assert [one.shape[2:] for one in said.features][:4] == [(10, 16), (5, 8), (3, 4), (2, 2)]
