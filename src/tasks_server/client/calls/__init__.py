"""The methods of the clients by group: each gives what is to be sent, and sends nothing."""
