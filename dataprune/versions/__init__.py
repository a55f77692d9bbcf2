"""Versions: immutable datasets `name@tag` in a store, built from decisions, loaded with proof."""
