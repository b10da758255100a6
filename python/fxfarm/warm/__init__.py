"""`fxfarm warm`: has a farm compile ahead of time, so that the processes to come find their stages made."""
