"""Atomic-resolution TEM of nanoparticles: simulation, denoising at low dose, atomic columns."""
