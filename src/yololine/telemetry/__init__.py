"""What a run says of itself: step records, and the lines it logs."""
