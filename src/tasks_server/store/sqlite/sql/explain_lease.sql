SELECT lease, lease_until FROM task WHERE seq = :seq
