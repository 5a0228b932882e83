import torch
from torch.testing import assert_close

from ml.networks.mcff_l import MCFFL


def test_every_path_has_the_parameters_of_the_original():
    network = MCFFL(channels=3, classes=2)

    parameters = {
        name: sum(one.numel() for path in (getattr(network, name), answer) for one in path.parameters())
        for name, answer in network.answers.items()
    }

    assert parameters == {"standard": 403_744, "dilated": 391_665, "rectangular": 383_983}


def test_the_mixed_answer_is_the_sum_of_three_gated_by_its_own_attention():
    torch.manual_seed(0)
    network = MCFFL(channels=3, classes=2, width=4, blocks=1).eval()
    pictures = torch.rand(2, 3, 16, 20)

    said = network.outputs(pictures)

    answers = {name: answer(getattr(network, name)(pictures)) for name, answer in network.answers.items()}
    total = sum(answers.values())
    assert_close(said.logits, total[:, 1:] * total[:, :1].sigmoid())
    assert set(said.heads) == {"standard", "dilated", "rectangular"}
    for name, answer in answers.items():
        assert_close(said.heads[name], answer[:, 1:] * answer[:, :1].sigmoid())


def test_only_the_teacher_drops_anything_while_it_trains():
    student, teacher = (
        MCFFL(channels=1, classes=2, width=2, blocks=1, dropout=dropout).train() for dropout in (0.0, 0.5)
    )

    assert not any(one.p for one in student.modules() if isinstance(one, torch.nn.Dropout))
    assert [one.p for one in teacher.modules() if isinstance(one, torch.nn.Dropout)] == [0.5] * 6
