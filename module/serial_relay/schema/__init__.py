"""JSON Schema and DTDL model of what the module is told and what it tells, made from what the parser uses."""
