"""Finds the files at the project's top level, in a checkout and in an installed wheel alike."""

from pathlib import Path


def project_file(name: str) -> Path:
    """`Procfile`, `workspace.yaml`, `examples`: beside the package in a checkout, inside it in a wheel."""
    package = Path(__file__).parent.parent
    packed = package / "_project" / name
    return packed if packed.exists() else package.parent / name
