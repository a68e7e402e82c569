"""A PACS by DICOMweb: find series (QIDO-RS), fetch them (WADO-RS), store reports (STOW-RS). PS3.18."""

from medq_vlm.pacs.client import Pacs, Series

__all__ = ["Pacs", "Series"]
