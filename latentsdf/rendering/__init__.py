"""Software rendering of meshes and signed distance fields."""
