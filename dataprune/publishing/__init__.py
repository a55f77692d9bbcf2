"""Versions on the Hugging Face Hub: what goes there beside the data, so that anyone can read it."""
