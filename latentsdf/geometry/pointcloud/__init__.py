"""Point clouds: validation, file formats, denoising, normals and orientation."""
