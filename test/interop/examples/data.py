"""Numbers that look random and are the same everywhere: between -0.5 and 0.5, one for each i."""
import math


def noise(i):
    value = math.sin(12.9898 * (i + 1)) * 43758.5453
    return value - math.floor(value) - 0.5
