"""What a trajectory's task is, without the instructions around it."""

from __future__ import annotations

from dataprune.trajectories import Trajectory
from dataprune.trajectories.dialects import Dialect


def prompt_of(trajectory: Trajectory, dialect: Dialect) -> str:
    """The task: behind the last of the dialect's marks that is there, else the whole prompt.

    A prompt that the row itself gave has no instructions around it and is taken as it is.
    """
    prompt = trajectory.prompt
    first = next((m.content for m in trajectory.messages if m.role == "user"), "")
    if prompt != first:
        return prompt
    for mark in dialect.prompt_after:
        place = prompt.rfind(mark)
        if place >= 0 and (behind := prompt[place + len(mark) :].strip()):
            return behind
    return prompt
