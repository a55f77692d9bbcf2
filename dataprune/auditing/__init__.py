"""Audits of flags: a person judges a random sample, and then it is known how many are wrong."""
