"""What a study takes, before any machine is rented: memory by kind, operations and hours, worked out offline."""
