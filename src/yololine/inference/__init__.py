"""What evaluation scores and the predictor serves: engines, pre- and post-processing."""
