"""What any program on Linux could use: files watched, descriptors read, names resolved, delays drawn, logs written."""
