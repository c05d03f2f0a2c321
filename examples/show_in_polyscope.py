"""Show shapes of a space in Polyscope: a mesh, its error against the field, and the field on a plane.

Polyscope (`pip install polyscope`) is a viewer for geometry. Drag to turn; the panel at the left switches quantities.

Run it: python examples/show_in_polyscope.py SPACE [ID ...] [--backend openGL_mock]
"""

import argparse

import numpy as np
import polyscope

import latentsdf as ls


def show(space: ls.ShapeSpace, shapes: list[str], resolution: int = 128) -> None:
    """Register each shape of a space in model space, one beside the other.

    Args:
        space: The space.
        shapes: Ids of training shapes.
        resolution: Cells per axis of the meshes.
    """
    polyscope.set_up_dir("y_up")
    polyscope.set_ground_plane_mode("shadow_only")
    for number, shape in enumerate(shapes):
        mesh = space.extract(shape, resolution, frame="model", normals=True)
        offset = np.array([2.0 * number, 0.0, 0.0])
        moved = mesh.vertices + offset
        surface = polyscope.register_surface_mesh(shape, moved, mesh.faces, smooth_shade=True)
        surface.add_vector_quantity("normals", mesh.vertex_normals)
        detail = space.distance(shape, mesh.vertices, frame="model")
        surface.add_scalar_quantity("distance of the field at the vertices", np.abs(detail), enabled=True)
        side = np.linspace(-1, 1, 65)
        x, y = (axis.ravel() for axis in np.meshgrid(side, side, indexing="ij"))
        plane = np.stack([x, y, np.zeros_like(x)], axis=1)
        cloud = polyscope.register_point_cloud(f"{shape}: plane z = 0", plane + offset, enabled=False)
        cloud.add_scalar_quantity("signed distance", space.distance(shape, plane, frame="model"), cmap="coolwarm")


def main() -> None:
    """Parse the command line and open the window."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("space", help="folder of a trained space")
    parser.add_argument("shapes", nargs="*", help="ids of training shapes (default: the first three)")
    parser.add_argument("--resolution", type=int, default=128, help="cells per axis")
    parser.add_argument("--backend", default="", help="openGL_mock runs without a screen")
    args = parser.parse_args()
    space = ls.load(args.space)
    polyscope.init(args.backend)
    shapes = args.shapes or space.ids[:3]
    show(space, shapes, args.resolution)
    polyscope.show()
    print(f"showed {len(shapes)} shapes: {', '.join(shapes)}")


if __name__ == "__main__":
    main()
