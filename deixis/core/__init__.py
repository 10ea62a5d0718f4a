"""What every stage stands on: command line, settings, errors, files, checkpoints, device."""
