"""Train an encoder of your own in front of a frozen space: point clouds in, codes out.

    python examples/own_encoder.py checkpoints/chairs

The encoder is a small PointNet (Qi et al. 2017): a network for each point, then the maximum over the points. The space
is a module of the model, but not trained; `space.sdf` passes gradients through it to the codes. The clouds are drawn
from the surfaces of the training shapes, and the loss is the distance that the decoded shape has at the points.
"""

import argparse

import torch
from torch import Tensor, nn

import latentsdf as ls


class Autoencoder(nn.Module):
    """A trainable encoder and the frozen space as its decoder."""

    def __init__(self, space: ls.ShapeSpace) -> None:
        super().__init__()
        self.space = space
        self.per_point = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 128))
        self.head = nn.Linear(128, space.codes.shape[1])
        self.register_buffer("mean", space.codes.mean(0))

    def encode(self, clouds: Tensor) -> Tensor:
        """Codes (B, L) of clouds (B, P, 3)."""
        return self.mean + 0.1 * self.head(self.per_point(clouds).amax(dim=1))

    def forward(self, clouds: Tensor, points: Tensor) -> Tensor:
        """Signed distances (B, Q) of the encoded shapes at points (B, Q, 3)."""
        return self.space(self.encode(clouds), points)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train an encoder in front of a frozen space.")
    parser.add_argument("checkpoint", help="folder of the space")
    parser.add_argument("--shapes", type=int, default=4, help="number of training shapes to draw clouds from")
    parser.add_argument("--steps", type=int, default=100, help="steps of training")
    arguments = parser.parse_args()
    torch.manual_seed(0)

    space = ls.load(arguments.checkpoint)  # frozen: no parameter of a loaded space requires gradients
    names = space.ids[: arguments.shapes]
    surfaces = []
    for name in names:
        mesh = space.extract(space.code(name), resolution=64)  # a code is extracted in model space
        surfaces.append(torch.as_tensor(mesh.sample(2000), dtype=torch.float32))
    clouds = torch.stack(surfaces).to(space.device)  # (B, 2000, 3)

    model = Autoencoder(space).to(space.device)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trainable, lr=3e-3)
    for step in range(arguments.steps):
        seen = clouds[:, torch.randperm(clouds.shape[1])[:500]]
        loss = model(seen, seen).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step in (0, arguments.steps - 1):
            print(f"step {step}: mean |sdf| at the points {loss.item():.4f}")

    with torch.no_grad():
        code = model.encode(clouds[:1])[0]
    print(f"the nearest training shape of the code of {names[0]} is {space.nearest(code, k=1).ids[0]}")


if __name__ == "__main__":
    main()
