"""The commands of this machine: what people and scripts call, beside the module itself."""
