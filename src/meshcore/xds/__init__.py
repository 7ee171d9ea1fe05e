"""Discovery from management servers: what delta discovery says (delta.py), a subscription to one
server over gRPC (subscription.py), virtual hosts of route configurations (vhds.py)."""
