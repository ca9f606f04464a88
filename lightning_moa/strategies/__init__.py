"""How a run of any size fits the machines it is given: strategies, precisions, checkpoints, plans."""
