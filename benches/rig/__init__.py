"""What tasks/cost and tasks/overhead share: scenarios, the load, and the processes around a proxy."""
