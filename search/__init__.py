"""The study: it samples recipes, runs them, measures what would ship and keeps the front."""
