"""The compiled modules: thin, typed faces of the C core."""
