"""The version, for files that say what wrote them: also where only the sources are at hand."""

__version__ = "0.1.0"
