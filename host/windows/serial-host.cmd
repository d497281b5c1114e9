@rem Runs serial_host with the Python of this folder; nothing else on this computer is used or changed.
@"%~dp0runtime\python.exe" -I -m serial_host %*
