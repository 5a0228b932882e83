"""What a network costs, counted on tensors without content: nothing is computed."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from ml.networks import NETWORKS, build
from ml.spec import NetworkSpec


@dataclass(frozen=True)
class Cost:
    """A network as it is without further settings, at one size of picture."""

    name: str
    parameters: int
    gmacs: float  # 10^9 multiplications with addition, of one picture; in convolutions and matrix products
    exports_any_size: bool


def cost(spec: NetworkSpec, *, classes: int, size: int) -> Cost:
    """Of one picture `size` pixels high and wide."""
    with torch.device("meta"):
        network = build(spec, classes).eval()
        picture = torch.empty(1, spec.channels, size, size)
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(picture)
    return Cost(
        name=spec.name,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        gmacs=round(counter.get_total_flops() / 2e9, 4),
        exports_any_size=NETWORKS[spec.name].exports_any_size,
    )


def listing(*, channels: int, classes: int, size: int) -> dict[str, Any]:
    """Every network of the registry with its cost, as JSON takes it."""
    costs = [asdict(cost(NetworkSpec(name, channels), classes=classes, size=size)) for name in NETWORKS]
    return {"channels": channels, "classes": classes, "size": size, "networks": costs}
