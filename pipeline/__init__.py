"""Synthetic training data for eyeglasses: paired portraits, shadow layers and exact masks."""

__version__ = "0.3.1"
