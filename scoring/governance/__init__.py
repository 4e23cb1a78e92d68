"""What a model is held against before and while it is used: drift, fairness, calibration by band, vintages."""
