"""MCFF-L: three parallel paths of dilated, rectangular and standard convolutions, each with an answer of its own.

Source: MCFF-L Net with knowledge distillation; github.com/LovingThresh/MCFF-L_Net@861c3e5,
Model/Segmentation_with_Three_Channels.py (TensorFlow). Changed: any size, K classes; strided and transposed
convolutions are padded in front where TensorFlow pads behind, which is the same network for mirrored pictures.
"""

from torch import Tensor, nn

from ml.networks.contract import Outputs, covering, padded

POOLINGS = 2


class MCFFL(nn.Module):
    """Logits of K classes: the sum of three paths, gated by an attention of its own.

    Width 16 with 4 blocks is the published student, width 64 with 8 blocks and dropout 0.5 the teacher: 1,179,392 and
    32,889,152 parameters (three channels, K = 2). Its five published outputs are these four at a temperature, and the
    mixed one at another (`ml.distillation.label_distillation`).
    """

    def __init__(self, *, channels: int, classes: int, width: int = 16, blocks: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        answers = classes + 1  # and an attention, the first of them
        deep = width * 2**POOLINGS
        up_widths = [deep // 2**level for level in range(1, POOLINGS + 1)]
        self.standard = nn.Sequential(
            _convolution(channels, width, 3, dilation=2),
            _convolution(width, width, 7),
            *_active(width),
            *(_standard_down(deep // 2**level) for level in range(POOLINGS, 0, -1)),
            *(_Residual(deep) for _ in range(blocks)),
            *(_up(wide, dropout) for wide in up_widths),
        )
        self.dilated = nn.Sequential(
            _convolution(channels, width, 3, dilation=3),
            _convolution(width, width, 3, dilation=2),
            *_active(width),
            *(_dilated_down(deep // 2**level) for level in range(POOLINGS, 0, -1)),
            *(_Residual(deep) for _ in range(blocks)),
            *(_up(wide, dropout, nn.BatchNorm2d) for wide in up_widths),
        )
        self.rectangular = nn.Sequential(
            _Crossed(channels, width, 7),
            _convolution(width, width, 7),
            *_active(width),
            *(_rectangular_down(deep // 2**level) for level in range(POOLINGS, 0, -1)),
            *(_Residual(deep) for _ in range(blocks)),
            *(_up(wide, dropout) for wide in up_widths),
        )
        self.answers = nn.ModuleDict({
            "standard": _convolution(width, answers, 7),
            "dilated": nn.Sequential(
                _convolution(width, answers, 3, dilation=3), _convolution(answers, answers, 3, dilation=2)
            ),
            "rectangular": nn.Sequential(_Crossed(width, answers, 7), _convolution(answers, answers, 7)),
        })  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """x: (N, C, H, W) float, normalised, any size.  Returns (N, K, H, W) logits."""
        return self.outputs(x).logits

    def outputs(self, x: Tensor) -> Outputs:
        """The mixed logits, those of the heads `standard`, `dilated` and `rectangular`, and the maps they come from."""
        height, width = x.shape[-2:]
        x = padded(x, 2**POOLINGS)
        maps = {name: getattr(self, name)(x) for name in self.answers}
        answers = {name: answer(maps[name]) for name, answer in self.answers.items()}
        heads = {name: _gated(answer)[..., :height, :width] for name, answer in answers.items()}
        mixed = _gated(answers["standard"] + answers["rectangular"] + answers["dilated"])
        features = covering(tuple(maps.values()), size=(height, width), of=(x.shape[-2], x.shape[-1]))
        return Outputs(mixed[..., :height, :width], heads, features)


class _Crossed(nn.Module):
    """The sum of a tall and a wide pair of convolutions, whose first kernels measure `long` by 3 (or 1)."""

    def __init__(self, inputs: int, outputs: int, long: int, *, short: int = 3) -> None:
        super().__init__()
        self.tall = nn.Sequential(_convolution(inputs, outputs, (long, short)), _convolution(outputs, outputs, (3, 1)))
        self.wide = nn.Sequential(_convolution(inputs, outputs, (short, long)), _convolution(outputs, outputs, (1, 3)))

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = self.tall(x) + self.wide(x)
        return summed


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(channels, channels, 3),
            *_active(channels),
            _convolution(channels, channels, 3),
            _instance_norm(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        summed: Tensor = x + self.body(x)
        return summed


def _gated(answers: Tensor) -> Tensor:
    """Logits (N, K, H, W) of answers (N, 1 + K, H, W), whose first channel is the attention."""
    return answers[:, 1:] * answers[:, :1].sigmoid()


def _standard_down(channels: int) -> nn.Sequential:
    wide = 2 * channels
    return nn.Sequential(
        _convolution(channels, wide, 3, dilation=2), _convolution(wide, wide, 3, stride=2), *_active(wide)
    )


def _dilated_down(channels: int) -> nn.Sequential:
    wide = 2 * channels
    return nn.Sequential(
        _convolution(channels, wide, 3, dilation=3),
        _convolution(wide, wide, 3, dilation=2),
        nn.MaxPool2d(2),
        *_active(wide),
    )


def _rectangular_down(channels: int) -> nn.Sequential:
    wide = 2 * channels
    return nn.Sequential(_Crossed(channels, wide, 3, short=1), nn.MaxPool2d(2), *_active(wide))


def _up(outputs: int, dropout: float, normalise: type[nn.Module] | None = None) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(dropout),
        nn.ConvTranspose2d(2 * outputs, outputs, 3, stride=2, padding=1, output_padding=1, bias=False),
        normalise(outputs, eps=1e-3) if normalise else _instance_norm(outputs),
        nn.ReLU(),
    )


def _convolution(
    inputs: int, outputs: int, kernel: int | tuple[int, int], *, stride: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """Without a bias; the size stays, or is divided by `stride`."""
    rows, columns = (kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (dilation * (rows // 2), dilation * (columns // 2))
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, bias=False)


def _active(channels: int) -> tuple[nn.Module, nn.Module]:
    return _instance_norm(channels), nn.ReLU()


def _instance_norm(channels: int) -> nn.InstanceNorm2d:
    return nn.InstanceNorm2d(channels, eps=1e-3, affine=True)
