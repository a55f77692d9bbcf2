"""Papers reproduced from one command: what they claim, measured, beside what we measure.

Beside the flow, not in it: a reproduction reads a recipe of its own, trains its own small network
and writes numbers and pictures; nothing of it becomes a score, a decision or a version.
"""
