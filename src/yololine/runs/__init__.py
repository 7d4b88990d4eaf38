"""The compiled pipelines at work; beside `yololine.pod` the only room that imports kfp."""
