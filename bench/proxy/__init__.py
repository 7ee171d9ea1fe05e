"""Whole proxies side by side on one machine; run `python -m bench.proxy --help`.

One proxy thread on one core, the load generator (wrk, 64 keep-alive connections) and the origin
(nginx) on another. Every proxy runs the whole time and gets the load in turn, round after round, so
that what the machine does meanwhile happens to all of them. The figure to compare is CPU time per
request, from the kernel's account of the proxy's own threads: it does not depend on which side
of the load is the bottleneck. Compare within one run only.
"""
