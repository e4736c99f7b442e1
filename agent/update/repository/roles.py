"""The four roles of a repository, each with a key of its own; imports nothing."""

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = ROLES = ("root", "targets", "snapshot", "timestamp")
OFFLINE = (ROOT, TARGETS)  # their keys stay away from the server
