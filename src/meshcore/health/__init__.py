"""The health of upstream hosts, as the control side sees it."""
