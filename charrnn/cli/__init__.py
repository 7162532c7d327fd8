"""The commands: options to settings, settings to calls, errors to exit codes."""
