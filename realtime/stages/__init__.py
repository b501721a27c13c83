"""The streaming stages: one per kind of voice, and the stages they are made of."""
