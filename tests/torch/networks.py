"""Run as a program: makes the models of these tests in a folder, and says what PyTorch itself answers for `rows.json`;
`weights.json` makes another."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

ENDLESS, GREEDY, CURIOUS = 11.0, 22.0, 33.0  # a first number that makes the hostile network do so


class Hostile(torch.nn.Module):  # type: ignore[misc]  # PyTorch is not where types are checked
    """Behaves until it is asked a number that no trial asks."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = float(x[0, 0])
        if first == 11.0:
            while bool((x == x).all()):
                x = x + 0
        if first == 22.0:
            return torch.ones([400_000_000_000]).sum().reshape(1, 1)
        if first == 33.0:
            return (
                torch.from_file("/etc/hostname", False, 1, dtype=torch.uint8).to(torch.float32).reshape(1, 1)
            )
        return x[:, :1]


def main(folder: Path) -> None:
    torch.manual_seed(3)
    network: Any = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()
    rows = torch.tensor(json.loads((folder / "rows.json").read_text()), dtype=torch.float32)
    free = ({0: torch.export.Dim("rows")},)
    torch.export.save(torch.export.export(network, (rows,), dynamic_shapes=free), folder / "network.pt2")
    torch.export.save(torch.export.export(network, (rows,)), folder / "fixed.pt2")
    torch.jit.script(network).save(str(folder / "network.pt"))
    weighted = torch.nn.Linear(6, 1, bias=False).eval()
    weighted.weight.data = torch.tensor([json.loads((folder / "weights.json").read_text())])
    exported = torch.export.export(weighted, (torch.zeros(3, 6),), dynamic_shapes=free)
    torch.export.save(exported, folder / "weighted.pt2")
    torch.jit.script(Hostile()).save(str(folder / "hostile.pt"))
    (folder / "said.json").write_text(json.dumps(network(rows)[:, 0].tolist()))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
