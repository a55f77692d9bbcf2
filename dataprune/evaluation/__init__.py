"""Does it pay? Retrain the probe on versions, on their controls and on everything, and compare."""
