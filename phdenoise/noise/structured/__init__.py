"""Structured noise: patterns that a detector or its surroundings add to whole rows, columns, frames, or as a wave.

    y = scene + patterns + white noise

Each pattern is found in differences of frames, named, given an amplitude and a spectrum, and taken out with the variance that
stays.
"""

from phdenoise.noise.structured.estimate import estimate_structure, found_structure
from phdenoise.noise.structured.pattern import Pattern, Structure

__all__ = ["Pattern", "Structure", "estimate_structure", "found_structure"]
