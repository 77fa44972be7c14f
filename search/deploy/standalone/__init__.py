"""Scripts that travel with every export and run without Paredown."""
