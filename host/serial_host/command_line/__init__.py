"""What people and scripts call: the arguments, and what each command does."""
