"""What a study says of its progress: what it does, has planned, and when it is likely to end."""
