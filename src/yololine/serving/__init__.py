"""The predictor: a registered version behind KServe's v1 and v2 protocols, over HTTP and gRPC."""
