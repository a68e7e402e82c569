"""MedQ-VLM: says how good a medical image is, why, and what to do about it."""

__version__ = "0.1.0"
