"""The compiled pipelines at work; the only room that imports kfp."""
