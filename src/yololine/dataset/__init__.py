"""Sources, cleaning, the Parquet dataset, splits, augmentation, the test set."""
