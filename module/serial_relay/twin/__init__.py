"""What speaks to the module twin: desired properties in, reported properties out, direct methods."""
