"""What everything else stands on: errors, files, fingerprints, recipes, the registry. A leaf."""
