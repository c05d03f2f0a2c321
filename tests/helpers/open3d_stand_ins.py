"""Objects with the attributes of Open3D's geometry, which is not installed for tests."""

from typing import Any

import numpy as np


class Vector:
    """`open3d.utility.Vector3dVector`: a sequence that numpy converts."""

    def __init__(self, values: Any) -> None:
        self._values = np.asarray(values)

    def __len__(self) -> int:
        return len(self._values)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self._values, dtype=dtype)


class Tensor:
    """`open3d.core.Tensor`, which has to be copied to the CPU first."""

    def __init__(self, values: Any, device: str = "CUDA:0") -> None:
        self._values, self._device = np.asarray(values), device
        self.shape = self._values.shape

    def __len__(self) -> int:
        return len(self._values)

    def cpu(self) -> "Tensor":
        """Return a copy on the CPU."""
        return Tensor(self._values, "CPU:0")

    def numpy(self) -> np.ndarray:
        """Return the array."""
        assert self._device == "CPU:0"
        return self._values


class TriangleMesh:
    """`open3d.geometry.TriangleMesh`."""

    def __init__(self, vertices: Any, triangles: Any) -> None:
        self.vertices, self.triangles, self.vertex_normals = (
            Vector(vertices),
            Vector(triangles),
            Vector(np.empty((0, 3))),
        )


class PointCloud:
    """`open3d.geometry.PointCloud`."""

    def __init__(self, points: Any, normals: Any = ()) -> None:
        self.points, self.normals, self.colors = Vector(points), Vector(normals), Vector(np.empty((0, 3)))

    def has_normals(self) -> bool:
        """Return whether there are normals."""
        return len(self.normals) > 0


class TensorTriangleMesh:
    """`open3d.t.geometry.TriangleMesh`."""

    def __init__(self, vertices: Any, triangles: Any) -> None:
        self.vertex, self.triangle = {"positions": Tensor(vertices)}, {"indices": Tensor(triangles)}


class TensorPointCloud:
    """`open3d.t.geometry.PointCloud`."""

    def __init__(self, points: Any, normals: Any = None) -> None:
        self.point = {"positions": Tensor(points)}
        if normals is not None:
            self.point["normals"] = Tensor(normals)
