SELECT number, pid, born, realm, seen_at FROM node
