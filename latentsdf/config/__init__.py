"""Configuration dataclasses, their validation, and YAML files."""
