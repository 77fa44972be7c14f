"""The study: it samples recipes, runs them, measures what would ship and keeps the front.

The rooms are in the order of a trial's way; ARCHITECTURE.md draws them. Users import `paredown`.
"""
