"""The whole batch at a glance while it is made."""
