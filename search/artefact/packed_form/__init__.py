"""The ship form of an artefact: the same file, packed without loss."""
