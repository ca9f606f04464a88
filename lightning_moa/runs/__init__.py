"""What a worker does for one task of a study: a file a task, and what they share."""
