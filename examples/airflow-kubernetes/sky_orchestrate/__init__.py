"""How one SkyPilot task is run safely, whoever asks: launched once, its failure told, nothing left running."""

__version__ = "0.1.0"
