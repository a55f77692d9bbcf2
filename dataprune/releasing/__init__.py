"""Above the flow: its verbs strung together for a run that nobody watches, with gates."""
