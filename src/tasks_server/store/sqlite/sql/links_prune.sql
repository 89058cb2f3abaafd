DELETE FROM used_link WHERE until < :now
