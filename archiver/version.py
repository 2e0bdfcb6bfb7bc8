"""The version, in one place: the package metadata, the logs and the archives' metadata read it here."""

__version__ = "0.1.0"
