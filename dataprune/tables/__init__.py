"""The contracts that travel between steps: each a schema, a writer, a reader and a check."""
