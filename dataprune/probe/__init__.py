"""Trains probes and records what they see of each example: the only place that trains one."""
