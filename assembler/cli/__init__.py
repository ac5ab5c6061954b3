"""The commands: arguments, reports, exit statuses."""
