"""What was trained, in use: found by a study's run.yaml, loaded, sampled from, exported and scored."""
