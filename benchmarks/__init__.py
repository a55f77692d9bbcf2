"""Speed as ratios within one run; `make bench` runs them all, `python -m benchmarks NAME` one."""
