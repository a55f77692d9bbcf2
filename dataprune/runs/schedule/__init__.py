"""Schedules: a recipe as a document of the scheduler that a team has. One target a file.

Each defines `TARGET`. Nothing here talks to a scheduler: documents are rendered, kept in git and
applied by their own tools. What they start is `dataprune`, which holds a lease on the run folder
and does nothing where nothing has changed.
"""

from __future__ import annotations

from dataprune.core.registry import Registry
from dataprune.runs.schedule._plan import Target

TARGETS: Registry[Target] = Registry("dataprune.runs.schedule", "TARGET", "target of schedules")
