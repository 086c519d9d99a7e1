"""Workflow files of both formats -> a checked graph -> what it makes."""
