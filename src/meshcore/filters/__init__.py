"""HTTP filters written in Python: the registry and what a filter sees."""

from meshcore.filters.http import Headers, Request, Response, http_filter, registered

__all__ = ["Headers", "Request", "Response", "http_filter", "registered"]
