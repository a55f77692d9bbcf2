"""A judge: a language model asked what code cannot tell, and trusted with nothing else.

    items -> prompts -> cache -> client -> replies -> votes -> verdicts

A verdict is read from a strict reply or it is undecided; undecided is never a rejection. `judge`
holds the `Judge`, `verdicts` what goes in and out, `calibrate` its agreement with people.
"""
