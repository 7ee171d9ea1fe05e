"""The version, said once: packaging, the command line and the `server` header read it here."""

__version__ = "0.1.0"
